"""What went by while the harness was open, and is not in the store in this form."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from errands.engine.input import Sent
from errands.model.call import Accepted, Opened, Refused, StepSent, WaitOpened
from errands.model.event import NewEvent
from errands.model.ids import RunId
from errands.model.job import NewJob
from errands.sdk.app import App
from errands.sdk.event import AnyEvent, EventLike, read_event
from errands.store.cycle import Entry


class Tape:
    """Kept by the harness, so a crash of what it runs does not wipe it."""

    def __init__(self, app: App) -> None:
        self.events: list[EventLike] = []
        """Accepted ones, in order."""
        self._app = app
        self._order: dict[tuple[RunId, str], int] = {}
        self._waits: dict[tuple[RunId, str], WaitOpened] = {}

    def started(self, run: RunId, step: str) -> None:
        """A step of this run begins; the first time counts."""
        self._order.setdefault((run, step), len(self._order))

    def place(self, run: RunId, step: str) -> int:
        """Among the run's steps, in order of start."""
        return self._order.get((run, step), len(self._order))

    def wait(self, run: RunId, step: str) -> WaitOpened | None:
        """What was asked for when this wait was opened."""
        return self._waits.get((run, step))

    def heard(self, entries: Sequence[Entry], now: int, public_id: Any) -> None:
        """These have been committed."""
        for entry in entries:
            given = entry.input
            if isinstance(given, Sent) and isinstance(entry.answer, Accepted):
                ids = [
                    key or public_id(id)
                    for id, key in zip(entry.answer.ids, entry.answer.keys, strict=True)
                ]
                self._send(given.items, ids, now)
            elif isinstance(given, StepSent) and not isinstance(entry.answer, Refused | None):
                self.started(given.run, given.step.id)
                self._send(given.items, entry.answer, now)
            elif isinstance(given, WaitOpened) and isinstance(entry.answer, Opened):
                self.started(given.run, given.step.id)
                self._waits[given.run, given.step.id] = given

    def _send(self, items: Sequence[NewEvent | NewJob], ids: Sequence[str], now: int) -> None:
        for item, id in zip(items, ids, strict=True):
            if isinstance(item, NewEvent):
                cls = self._app.events.get(item.name, AnyEvent)
                at = now if item.ts is None else item.ts
                self.events.append(read_event(cls, item.name, item.data, id, at, item.user, item.v))


def when(ms: int) -> str:
    """ "2026-01-04T00:00:00Z", with milliseconds where there are any."""
    text = datetime.fromtimestamp(ms / 1000, UTC).isoformat(
        timespec="milliseconds" if ms % 1000 else "seconds"
    )
    return text.replace("+00:00", "Z")
