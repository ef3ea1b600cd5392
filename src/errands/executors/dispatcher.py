"""The loop's side of a worker: acts on what was committed, and looks when others have committed."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any

from errands.clock import Alarm, Alarms, Clock
from errands.executors.committer import Committer, Effects
from errands.executors.inbox import Inbox
from errands.executors.runner import Runner
from errands.executors.sweeper import Sweeper
from errands.executors.timers import Timers
from errands.model.errors import ErrandsError, Unavailable
from errands.store.interface import Store

log = logging.getLogger("errands.dispatcher")
POLL_MS = 50
"""How often to ask whether another process has committed: a few microseconds each time."""
PACE_MS = 2
"""Least time between two looks, however many hints come: longer than who hinted stays quiet."""
PACE_MS_MAX = 8
"""The same where the looks are in vain: others are busy with what is not for this process."""
GRACE_SECONDS = 20.0
SETTLE_SECONDS = 5.0
"""How long what is given back may take to be written, while the store cannot be."""


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
        self._commits = self._news = 0
        """How far the committer was when the inbox was last looked at."""
        self._is_unclear = False
        """Somebody has committed since; whether it was this process alone is not known yet."""
        self._idle: asyncio.Future[None] | None = None
        runner.on_idle = self._on_idle
        sweeper.on_sweep = runner.give_back_lost

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
        is_inbox = self._look_into_inbox()
        return self._look_around() or is_inbox

    def _look_around(self) -> bool:
        self.timers.look()
        serves = self.committer.here.serves
        is_ready = any(lane in serves for lane in self._store.reader.lanes())
        if is_ready:
            self.committer.kick()
        return is_ready

    def _look_into_inbox(self) -> bool:
        commits, news = self.committer.commits, self.committer.inbox_news
        is_any = self.inbox.look()
        self._commits, self._news, self._is_unclear = commits, news, False
        return is_any

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
        is_changed = version != self._seen
        is_inbox = self._is_inbox_due(is_changed) and self._look_into_inbox()
        is_ready = is_changed and self._look_around()
        self._seen = version
        return is_inbox or is_ready

    def _is_inbox_due(self, is_changed: bool) -> bool:
        """May there be something in the inbox that the committer does not have at hand?

        Its own commits change the version as well. Each of them says whether others had committed
        before it; of the time after the last one that is known as soon as no more of them come.
        """
        if self.committer.inbox_news != self._news or self.inbox.is_more:
            return True
        if self.committer.commits == self._commits:
            return is_changed or self._is_unclear
        self._commits = self.committer.commits
        self._is_unclear = self._is_unclear or is_changed
        return False

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
        why = "its worker is stopping"
        self.committer.serve(frozenset(), 0)
        # What it has leased until now is known here after this.
        await self._within(SETTLE_SECONDS, self._settled())
        if self.runner.executing and grace > 0:
            self._idle = asyncio.get_running_loop().create_future()
            await asyncio.wait([self._idle], timeout=grace)
        self.halt()
        await self.timers.stop()
        await self._within(SETTLE_SECONDS, self.runner.release_all(why))
        await self._within(SETTLE_SECONDS, self._settled())
        await self._within(SETTLE_SECONDS, self.runner.give_back_rest(why))

    def halt(self) -> None:
        """Look at nothing any more."""
        for alarm in (self._alarm, self._pace):
            if alarm is not None:
                alarm.cancel()
        self.sweeper.stop()
        self.timers.halt()

    async def _settled(self) -> None:
        await self.committer.fence()

    async def _within(self, seconds: float, call: Awaitable[Any]) -> None:
        """Wait for it, not for ever: while the store cannot be written, or after a bug, others take
        over what this process held as soon as it has ended.
        """
        task = asyncio.ensure_future(call)
        await asyncio.wait([task], timeout=seconds)
        if not task.done():
            log.warning("stopping: the store cannot be written; what executes is not given back")
            task.cancel()
        elif (error := task.exception()) is not None:
            level = logging.WARNING if isinstance(error, ErrandsError) else logging.ERROR
            log.log(level, "stopping: not everything could be given back", exc_info=error)
