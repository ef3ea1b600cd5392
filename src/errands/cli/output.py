"""How a command answers: JSON for programs, words and tables for people."""

import re
import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from rich.console import Console

COLOURS = {
    "pending": "yellow",
    "processing": "cyan",
    "completed": "green",
    "failed": "red",
    "cancelled": "magenta",
}
# But for line ends and tabs: what a terminal obeys instead of showing it (C0, DEL, C1), and what
# turns the direction of the text around it.
_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


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


def printable(text: str) -> str:
    """The text of somebody else, with nothing in it that a terminal would obey."""
    return _CONTROLS.sub(lambda found: repr(found[0])[1:-1], text)


def all_printable(value: Any) -> Any:
    """The same for all strings of plain data."""
    match value:
        case str():
            return printable(value)
        case list():
            return [all_printable(one) for one in cast("list[Any]", value)]
        case dict():
            known = cast("dict[str, Any]", value)
            return {name: all_printable(one) for name, one in known.items()}
        case _:
            return value


def short_time(ms: int, now: int) -> str:
    """The time of day; of another day, the day first."""
    then, today = (datetime.fromtimestamp(one / 1000, UTC).astimezone() for one in (ms, now))
    if then.date() == today.date():
        return f"{then:%H:%M:%S}"
    return f"{then:%b %d %H:%M}" if then.year == today.year else f"{then:%Y-%m-%d}"


def clock_time(ms: int | None) -> str:
    """In the time zone of who reads it."""
    if ms is None:
        return ""
    return f"{datetime.fromtimestamp(ms / 1000, UTC).astimezone():%Y-%m-%d %H:%M:%S}"


def tell_of_older(command: str, page: dict[str, Any]) -> None:
    """How to see the next page of a list, if there is one."""
    if page["cursor"] is not None:
        console().print(f"[dim]Older ones: {command} --before {page['cursor']}[/]")


def tell_of_cancel(noun: str, found: dict[str, Any], *, was_over: bool) -> None:
    """found: the run or job, as it is now."""
    if was_over:
        print(f"{noun} {found['id']} was over already: {found['status']}. Nothing is changed.")
    else:
        print(f"{noun} {found['id']} is cancelled.")


def exit_as(found: list[dict[str, Any]]) -> None:
    """With 1 if one of these runs or jobs has not completed. Raises typer.Exit."""
    if any(one["status"] != "completed" for one in found):
        import typer

        raise typer.Exit(1)
