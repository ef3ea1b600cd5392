"""Looks after what nobody else does: dead workers, what they left behind, and what is past its
time.
"""

import asyncio
from collections.abc import Callable
from typing import Any

from errands.clock import Alarm, Alarms, Clock
from errands.engine.input import Trim, WorkerLost
from errands.executors.committer import Committer
from errands.executors.ticket import Ticket
from errands.model.ids import EventId, RunId, first_id
from errands.store.interface import Store

SWEEP_MS = 1_000
TRIM_MS = 60_000
PAGE = 500


class Sweeper:
    """One in every worker; whoever is first does it, the others find it done."""

    def __init__(
        self,
        committer: Committer,
        store: Store,
        clock: Clock,
        alarms: Alarms,
        *,
        lease_ms: int,
        keep_runs_ms: int,
        keep_events_ms: int,
    ) -> None:
        self._committer, self._store, self._clock, self._alarms = committer, store, clock, alarms
        self._lease_ms, self._keep_runs_ms, self._keep_events_ms = (
            lease_ms,
            keep_runs_ms,
            keep_events_ms,
        )
        self.on_sweep: Callable[[], None] = lambda: None
        """Called each time."""
        self._alarm: Alarm | None = None
        self._trim_at = 0
        self._event = EventId(0)
        self._trimming: asyncio.Task[None] | None = None
        self._is_stopped = False

    def start(self) -> None:
        self._sweep()

    def stop(self) -> None:
        self._is_stopped = True
        if self._alarm is not None:
            self._alarm.cancel()

    def _sweep(self) -> None:
        now = self._clock.now()
        self._alarm = self._alarms.call_at(now + min(SWEEP_MS, self._lease_ms // 3), self._sweep)
        self.on_sweep()
        self.look_for_dead(now)
        if now >= self._trim_at:
            self._trim_at = now + TRIM_MS
            self.trim(now)

    def look_for_dead(self, now: int) -> None:
        for worker in self._store.reader.workers():
            if worker.id == self._committer.here.worker:
                continue
            if self._store.is_node_dead(worker.node):
                self._lost(worker.id, worker.beat_at, "its process has ended")
            elif now - worker.beat_at > self._lease_ms and self._may_judge(now):
                silent = (now - worker.beat_at) / 1000
                self._lost(worker.id, worker.beat_at, f"it was silent for {silent:.1f} s")

    def _may_judge(self, now: int) -> bool:
        """Only who has itself been on time, twice: after a laptop slept, everybody looks silent."""
        beats = list(self._committer.beats)
        late = self._committer.beat_ms * 3 // 2
        times = [*beats, now]
        return len(beats) >= 2 and all(
            b - a <= late for a, b in zip(times[-3:], times[-2:], strict=False)
        )

    def _lost(self, worker: int, beat_at: int, why: str) -> None:
        self._committer.submit(WorkerLost(worker, beat_at, why))  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]

    def trim(self, now: int) -> None:
        """Begin to remove what is past its time, unless that is going on already."""
        if self._trimming is None or self._trimming.done():
            self._trimming = asyncio.get_running_loop().create_task(self._trim(now))

    async def _trim(self, now: int) -> None:
        is_more = True
        while is_more and not self._is_stopped:
            ticket, is_more = self.trim_page(now)
            await ticket

    def trim_page(self, now: int) -> tuple[Ticket[Any], bool]:
        """A short piece of it, so that nobody waits for long; and whether there is more."""
        reader = self._store.reader
        runs = reader.expired_runs(now, RunId(first_id(now - self._keep_runs_ms)), PAGE)
        before = EventId(first_id(now - self._keep_events_ms))
        events = reader.expired_events(self._event, before, PAGE)
        # Behind events that have to stay there may be others that can go.
        self._event = events[-1] if len(events) == PAGE else EventId(0)
        gone = Trim(tuple(runs), tuple(events), now, now - self._keep_runs_ms)
        # Any run at all: of a few with many rows, a page removes only so many.
        is_more = bool(runs) or len(events) == PAGE or reader.has_expired_dedup(now)
        return self._committer.submit(gone), is_more
