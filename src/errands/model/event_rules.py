"""What an event may be called and carry, whoever sends it: the SDK, or somebody over HTTP."""

from typing import Final

NAME_LENGTH_MAX: Final = 256
"""Characters of an event's name, and of an id that its sender has given."""
RESERVED_PREFIX: Final = "errands/"
"""Names of events that errands itself sends."""
TS_MAX: Final = 253_402_300_799_999
"""The last millisecond that a datetime can say."""
NAME_HINT: Final = (
    f'A name is 1 to {NAME_LENGTH_MAX} characters, e.g. "user/signed.up"; '
    f'"*" and "{RESERVED_PREFIX}…" are taken.'
)
KEY_HINT: Final = f"An id is a string of 1 to {NAME_LENGTH_MAX} printable characters."


def why_not_name(name: str) -> str | None:
    """Why this cannot be the name of an event; None if it can."""
    if not name:
        return "an event needs a name"
    if len(name) > NAME_LENGTH_MAX:
        return f"the event name {name[:40]!r}… has {len(name)} characters"
    if "*" in name or not name.isprintable():
        return f"the event name {name!r} has a character that is not allowed"
    if name.startswith(RESERVED_PREFIX):
        return f"the event name {name!r} is reserved"
    return None


def is_key(text: str) -> bool:
    """May a sender give this as the id of an event, or a job's idempotency key?"""
    return 0 < len(text) <= NAME_LENGTH_MAX and text.isprintable()
