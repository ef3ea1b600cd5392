"""Who waits for a change of which run. Asked by any thread, told by the committer's."""

import asyncio
import threading
from collections.abc import Sequence
from typing import Any

from errands.executors.committer import Effects
from errands.executors.ticket import Ticket
from errands.model.ids import RunId
from errands.model.run import Done


class Watchers:
    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: dict[RunId, list[Ticket[Done | None]]] = {}

    def watch(
        self, run: RunId, loop: asyncio.AbstractEventLoop | None = None
    ) -> Ticket[Done | None]:
        """Settled at the run's next change; with its outcome, if that is what changed."""
        return self.watch_any((run,), loop)

    def watch_any(
        self, runs: Sequence[RunId], loop: asyncio.AbstractEventLoop | None = None
    ) -> Ticket[Done | None]:
        """Settled at the next change of any of them."""
        ticket: Ticket[Done | None] = Ticket(loop)
        with self._lock:
            for run in runs:
                self._waiting.setdefault(run, []).append(ticket)
        return ticket

    def forget(self, run: RunId, ticket: Ticket[Done | None]) -> None:
        self.forget_any((run,), ticket)

    def forget_any(self, runs: Sequence[RunId], ticket: Ticket[Done | None]) -> None:
        with self._lock:
            for run in runs:
                waiting = self._waiting.get(run)
                if waiting is not None and ticket in waiting:
                    waiting.remove(ticket)
                    if not waiting:
                        del self._waiting[run]

    def told(self, effects: Effects) -> list[tuple[Ticket[Any], Done | None]]:
        """The tickets that these effects settle."""
        if not self._waiting:
            return []
        told: list[tuple[Ticket[Any], Done | None]] = []
        with self._lock:
            for done in effects.done:
                if (waiting := self._waiting.pop(done.run, None)) is not None:
                    told += [(ticket, done) for ticket in waiting]
            for run in effects.changed:
                if (waiting := self._waiting.pop(run, None)) is not None:
                    told += [(ticket, None) for ticket in waiting]
        return told

    def all(self) -> list[Ticket[Done | None]]:
        """Everybody; nobody waits any more."""
        with self._lock:
            tickets = [ticket for waiting in self._waiting.values() for ticket in waiting]
            self._waiting.clear()
        return tickets

    def waiting(self) -> list[RunId]:
        """The runs that somebody waits for."""
        with self._lock:
            return list(self._waiting)

    def changed(self, runs: Sequence[RunId]) -> list[Ticket[Done | None]]:
        """The tickets that a change of these runs settles: another process has made it."""
        with self._lock:
            return [ticket for run in runs for ticket in self._waiting.pop(run, ())]
