"""Values at paths: what stands at `data.order.id` of an event."""

from typing import Any, Final, cast

MISSING: Final = object()
"""Nothing does."""


def value_at(subject: Any, path: str) -> Any:
    """What stands there; MISSING if nothing does."""
    for name in path.split("."):
        if not isinstance(subject, dict) or name not in subject:
            return MISSING
        subject = cast("dict[str, Any]", subject)[name]
    return subject
