"""How a command answers: JSON for programs, words and tables for people."""

import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console

COLOURS = {
    "pending": "yellow",
    "processing": "cyan",
    "completed": "green",
    "failed": "red",
    "cancelled": "magenta",
}


def is_for_people(as_json: bool) -> bool:
    return not as_json and sys.stdout.isatty()


def print_json(value: Any) -> None:
    import msgspec

    text = msgspec.json.format(msgspec.json.encode(value), indent=2)
    print(text.decode())


def console() -> "Console":
    """Colours as the terminal and NO_COLOR have it."""
    from rich.console import Console

    return Console(highlight=False, soft_wrap=False)


def clock_time(ms: int | None) -> str:
    """In the time zone of who reads it."""
    if ms is None:
        return ""
    return f"{datetime.fromtimestamp(ms / 1000, UTC).astimezone():%Y-%m-%d %H:%M:%S}"
