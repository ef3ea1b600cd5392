"""Pages of lists, the newest first: as many as asked for, and where the next page goes on."""

from collections.abc import Sequence
from typing import Annotated, TypeVar

from msgspec import Meta

from errands.api.problems import refuse_value
from errands.model.ids import parse_id, public_id

LIMIT, LIMIT_MAX = 50, 1_000
Limit = Annotated[int, Meta(ge=1, le=LIMIT_MAX, description="At most so many.")]
Cursor = Annotated[
    str | None, Meta(description="`cursor` of the page before: goes on behind its last entry.")
]
T = TypeVar("T")


def read_cursor(cursor: str | None, key: bytes, name: str = "cursor") -> int | None:
    """The id that it stands for. Raises Refusal."""
    if cursor is None:
        return None
    number = parse_id(cursor, key)
    if number is None:
        raise refuse_value(
            name,
            f"{name} {cursor[:60]!r} is none of this server's",
            hint=f"Pass the `cursor` of the page before; leave {name} out for the first page.",
        )
    return number


def page(rows: Sequence[T], limit: int) -> tuple[Sequence[T], T | None]:
    """The page, of rows asked for one too many; and its last entry, if there is another page."""
    shown = rows[:limit]
    return shown, shown[-1] if len(rows) > limit else None


def write_cursor(id: int | None, key: bytes) -> str | None:
    return None if id is None else public_id(id, key)
