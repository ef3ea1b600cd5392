"""One line in the terminal for each run that ends."""

import threading
from collections.abc import Sequence
from datetime import UTC, datetime
from queue import SimpleQueue

import msgspec

from errands.dev.words import one_line, style
from errands.model.duration import format_ms
from errands.model.run import Failure, RunStatus

COLOURS = {
    RunStatus.COMPLETED: "green",
    RunStatus.FAILED: "red",
    RunStatus.CANCELLED: "magenta",
}
NAME_WIDTH, WHY_WIDTH = 32, 120
AT_ONCE_MAX = 100
"""Of more runs that end while the terminal is written to, the rest is counted."""


PATIENCE_SECONDS = 1.0
"""At the end, for a terminal that stands still."""


class Ended(msgspec.Struct, frozen=True):
    id: str
    name: str
    """app/function"""
    status: RunStatus
    at: int
    """Unix ms."""
    took_ms: int
    output: bytes
    """As in Done."""


class Lines:
    """Writes them in a thread of its own: a terminal may be slow, or stand still."""

    def __init__(self) -> None:
        self._queue: SimpleQueue[Sequence[Ended] | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._write, name="errands-lines", daemon=True)

    def __enter__(self) -> "Lines":
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        """Write what there is."""
        self._queue.put(None)
        self._thread.join(PATIENCE_SECONDS)

    def add(self, several: Sequence[Ended]) -> None:
        self._queue.put(several)

    def _write(self) -> None:
        while True:
            parts = [self._queue.get()]
            while not self._queue.empty():
                parts.append(self._queue.get())
            ended = [one for part in parts if part is not None for one in part]
            for one in ended[:AT_ONCE_MAX]:
                print(line_of(one))
            if (rest := len(ended) - AT_ONCE_MAX) > 0:
                print(style(f"          … and {rest:,} more", "dim"))
            print(end="", flush=True)
            if None in parts:
                return


def line_of(ended: Ended) -> str:
    """When, which function, how it ended, how long it took; its id; why, if it did not complete."""
    then = datetime.fromtimestamp(ended.at / 1000, UTC).astimezone()
    word = style(f"{ended.status.name.lower():<9}", COLOURS[ended.status])
    name = one_line(ended.name, 80)
    parts = [
        style(f"{then:%H:%M:%S}", "dim"),
        f"{name:<{NAME_WIDTH}}",
        word,
        f"{format_ms(ended.took_ms):>8}",
        style(ended.id, "dim"),
    ]
    if why := _why(ended):
        parts.append(style(why, COLOURS[ended.status]))
    return "  ".join(parts)


def _why(ended: Ended) -> str:
    match ended.status:
        case RunStatus.COMPLETED:
            return ""
        case RunStatus.FAILED:
            failure = msgspec.json.decode(ended.output, type=Failure)
            return one_line(f"{failure.name}: {failure.message}", WHY_WIDTH)
        case RunStatus.CANCELLED:
            return ""
