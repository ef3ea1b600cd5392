"""The loop's side of a worker: acts on what was committed, and looks when others have committed."""

import asyncio
from collections.abc import Callable

from errands.clock import Alarm, Alarms, Clock
from errands.executors.committer import Committer, Effects
from errands.executors.inbox import Inbox
from errands.executors.runner import Runner
from errands.executors.sweeper import Sweeper
from errands.executors.timers import Timers
from errands.model.errors import Unavailable
from errands.store.interface import Store

POLL_MS = 50
"""How often to ask whether another process has committed: a few microseconds each time."""
PACE_MS = 2
"""Least time between two looks, however many hints come: longer than who hinted stays quiet."""
PACE_MS_MAX = 8
"""The same where the looks are in vain: others are busy with what is not for this process."""
"""Least time between two looks, however many hints come; longer than a process is quiet between
two.
"""
GRACE_SECONDS = 20.0


class Dispatcher:
    """Ties the services of a worker together. All in one event loop."""

    def __init__(
        self,
        committer: Committer,
        store: Store,
        runner: Runner,
        timers: Timers,
        sweeper: Sweeper,
        clock: Clock,
        alarms: Alarms,
        rejoin: Callable[[], None],
    ) -> None:
        self._rejoin = rejoin
        self.committer, self.runner, self.timers, self.sweeper = committer, runner, timers, sweeper
        self.inbox = Inbox(committer, store.reader)
        self._store, self._clock, self._alarms = store, clock, alarms
        self._alarm: Alarm | None = None
        self._pace: Alarm | None = None
        self._pace_ms = PACE_MS
        self._is_hinted = False
        self._seen = -1
        self._idle: asyncio.Future[None] | None = None
        runner.on_idle = self._on_idle

    def start(self) -> None:
        self.look()
        self.sweeper.start()
        self._poll()

    def acted(self, effects: Effects) -> None:
        """A batch of this process was committed."""
        self.runner.acted(effects)
        self.timers.arm(effects.due)

    def look(self) -> bool:
        """Another process may have committed something; False if there is nothing to do here."""
        self.timers.look()
        is_inbox = self.inbox.look()
        serves = self.committer.here.serves
        is_ready = any(lane in serves for lane in self._store.reader.lanes())
        if is_ready:
            self.committer.kick()
        return is_inbox or is_ready

    def hinted(self) -> None:
        """Another process says that there is something to see. Now, and once more a little later:
        it is quiet for a moment after each hint, whatever it commits.
        """
        self._is_hinted = True
        if self._pace is None:
            self._attend()

    def _attend(self) -> None:
        self._pace = None
        is_of_use = self._look_if_changed()
        if not self._is_hinted:
            self._pace_ms = PACE_MS
            return
        self._is_hinted = False
        self._pace = self._alarms.call_at(self._clock.now() + self._pace_ms, self._attend)
        self._pace_ms = PACE_MS if is_of_use else min(self._pace_ms * 2, PACE_MS_MAX)

    def _look_if_changed(self) -> bool:
        version = self._store.version()
        if version == self._seen:
            return False
        is_of_use = self.look()
        self._seen = version
        return is_of_use

    def _poll(self) -> None:
        self._alarm = self._alarms.call_at(self._clock.now() + POLL_MS, self._poll)
        if self.committer.is_declared_dead:
            # What this process held is executed elsewhere by now; nothing of it may go on here.
            self.runner.drop_all()
            try:
                self._rejoin()
            except Unavailable:
                return  # at the next poll, then
            self.look()
        else:
            self._look_if_changed()

    # -- stopping ------------------------------------------------------------------------------

    def _on_idle(self) -> None:
        if self._idle is not None and not self._idle.done() and not self.runner.executing:
            self._idle.set_result(None)

    async def stop(self, grace: float = GRACE_SECONDS) -> None:
        """No new work; what executes may finish for `grace` seconds, then it is given back."""
        self.committer.serve(frozenset(), 0)
        if self.runner.executing and grace > 0:
            self._idle = asyncio.get_running_loop().create_future()
            await asyncio.wait([self._idle], timeout=grace)
        for alarm in (self._alarm, self._pace):
            if alarm is not None:
                alarm.cancel()
        self.sweeper.stop()
        await self.timers.stop()
        await self.runner.release_all("its worker is stopping")
