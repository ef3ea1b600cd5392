"""Timers: one alarm for the earliest, drained until empty. A million sleeping runs cost nothing
until due.
"""

import asyncio
import logging
from typing import Any

from errands.clock import Alarm, Alarms, Clock
from errands.engine.input import TimerDue
from errands.executors.committer import Committer
from errands.executors.ticket import Ticket
from errands.model.timer import Timer
from errands.store.interface import Reader

log = logging.getLogger("errands.timers")
PAGE = 500
RETRY_MS = (1_000, 5_000, 30_000)
"""Before a timer that could not be decided rings again; the last one from then on."""
FAR = 1 << 62


class Timers:
    def __init__(self, committer: Committer, reader: Reader, clock: Clock, alarms: Alarms) -> None:
        self._committer, self._reader, self._clock, self._alarms = committer, reader, clock, alarms
        self._alarm: Alarm | None = None
        self._due: int | None = None
        self._draining: asyncio.Task[None] | None = None
        self._failing: dict[Timer, tuple[int, int]] = {}
        """How often each has failed in a row, and when it rings again."""
        self._is_stopped = False

    def start(self) -> None:
        self.look()

    def look(self) -> None:
        """Timers may have been set elsewhere."""
        if not self._failing:
            self.arm(self._reader.next_timer())
            return
        for timer in self._reader.due_timers(FAR, len(self._failing) + 1):
            self.arm(self._failing[timer][1] if timer in self._failing else timer.due)

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
            while not self._is_stopped and (due := self._due_timers()):
                tickets = [(timer, self._committer.submit(TimerDue(timer))) for timer in due]
                for timer, ticket in tickets:
                    await self._rung(timer, ticket)
            self._due = None
            self.look()
        except Exception:
            log.exception("timers cannot be read; tried again in %d s", RETRY_MS[0] // 1000)
            self._due = None
            self.arm(self._clock.now() + RETRY_MS[0])

    def _due_timers(self) -> list[Timer]:
        now, failing = self._clock.now(), self._failing
        due = self._reader.due_timers(now, PAGE + len(failing))
        if failing:
            self._failing = {timer: failing[timer] for timer in due if timer in failing}
            due = [timer for timer in due if timer not in failing or failing[timer][1] <= now]
        return due

    async def _rung(self, timer: Timer, ticket: Ticket[Any]) -> None:
        """Whatever goes wrong with one of them, the others still have to ring."""
        try:
            await ticket
        except Exception as error:
            tries = self._failing.get(timer, (0, 0))[0]
            pause = RETRY_MS[min(tries, len(RETRY_MS) - 1)]
            self._failing[timer] = tries + 1, self._clock.now() + pause
            log.error("a timer of run %d cannot be decided", timer.run, exc_info=error)
        else:
            self._failing.pop(timer, None)

    def halt(self) -> None:
        self._is_stopped = True
        if self._alarm is not None:
            self._alarm.cancel()

    async def stop(self) -> None:
        self.halt()
        if self._draining is not None:
            # What it has submitted is decided all the same.
            self._draining.cancel()
            await asyncio.wait([self._draining])
