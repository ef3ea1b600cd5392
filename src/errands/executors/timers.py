"""Timers: one alarm for the earliest, drained until empty. A million sleeping runs cost nothing
until due.
"""

import asyncio

from errands.clock import Alarm, Alarms, Clock
from errands.engine.input import TimerDue
from errands.executors.committer import Committer
from errands.store.interface import Reader

PAGE = 500


class Timers:
    def __init__(self, committer: Committer, reader: Reader, clock: Clock, alarms: Alarms) -> None:
        self._committer, self._reader, self._clock, self._alarms = committer, reader, clock, alarms
        self._alarm: Alarm | None = None
        self._due: int | None = None
        self._draining: asyncio.Task[None] | None = None
        self._is_stopped = False

    def start(self) -> None:
        self.look()

    def look(self) -> None:
        """Timers may have been set elsewhere."""
        self.arm(self._reader.next_timer())

    def arm(self, due: int | None) -> None:
        """A timer was set for this time (Unix ms)."""
        if due is None or self._is_stopped or (self._due is not None and self._due <= due):
            return
        if self._alarm is not None:
            self._alarm.cancel()
        self._due = due
        self._alarm = self._alarms.call_at(due, self._ring)

    def _ring(self) -> None:
        self._alarm = None
        if self._draining is None or self._draining.done():
            self._draining = asyncio.get_running_loop().create_task(self._drain())

    async def _drain(self) -> None:
        try:
            while not self._is_stopped:
                due = self._reader.due_timers(self._clock.now(), PAGE)
                if not due:
                    break
                tickets = [self._committer.submit(TimerDue(timer)) for timer in due]
                for ticket in tickets:
                    await ticket
        finally:
            # Whatever went wrong with one of them, the others still have to ring.
            self._due = None
            self.look()

    async def stop(self) -> None:
        self._is_stopped = True
        if self._alarm is not None:
            self._alarm.cancel()
        if self._draining is not None:
            await self._draining
