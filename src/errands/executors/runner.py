"""Sessions: each leased run is executed by one, reports through it, and may be parked in it.

Parked sessions are kept, the most recent ones, so that a run goes on where it stands; the others
are dropped, and their runs replayed from what is remembered.
"""

import asyncio
import gc
import logging
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import msgspec

from errands.clock import Chance, Clock
from errands.executors.committer import Committer, Effects
from errands.executors.ticket import Ticket
from errands.model.call import (
    LEASE_LOST,
    Again,
    Call,
    Caller,
    Released,
    Report,
    RunFailed,
    Session,
)
from errands.model.errors import ErrandsError, Unavailable
from errands.model.event import Event
from errands.model.function import Function, RetryPolicy
from errands.model.ids import RunId, public_id
from errands.model.item import Item
from errands.model.run import Failure, Run
from errands.model.step import UNORDERED
from errands.store.interface import Reader

log = logging.getLogger("errands.runner")
PARKED_MAX = 1_000
COLLECT_EVERY = 1_000
"""Evicted sessions between two full garbage collections."""
_encode = msgspec.json.Encoder().encode
_decode_policy = msgspec.json.Decoder(RetryPolicy).decode


class Runner:
    """Is the sessions' Journal."""

    def __init__(
        self,
        committer: Committer,
        reader: Reader,
        caller: Caller,
        clock: Clock,
        chance: Chance,
        *,
        parked_max: int = PARKED_MAX,
        loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        """loop: in which the sessions are; None: the one that runs when they report."""
        self.sessions: dict[RunId, Session] = {}
        self.on_idle: Callable[[], None] = lambda: None
        """Called when a session has ended or is parked."""
        self._committer, self._reader, self._caller = committer, reader, caller
        self._clock, self._chance = clock, chance
        self._loop = loop
        self._parked: OrderedDict[RunId, Session] = OrderedDict()
        self._parked_max = parked_max
        self._evicted = 0
        self._key = committer.here.key
        self._is_stopping = False
        self._lost: dict[RunId, int] = {}
        """Leases without a session, at the last sweep."""

    @property
    def executing(self) -> list[Session]:
        return [session for run, session in self.sessions.items() if run not in self._parked]

    @property
    def parked_count(self) -> int:
        return len(self._parked)

    # -- leases --------------------------------------------------------------------------------

    def acted(self, effects: Effects) -> None:
        """Execute what was leased; tell sessions what happened to their runs.

        What goes wrong with one run costs the others nothing. A lease that has no session in the
        end is given back by `give_back_lost`, a little later: so what keeps failing does not spin.
        """
        unknown: list[Item] = []
        for item, run, event in effects.leases:
            if self._resume(item) or self._is_stopping:
                continue
            if run is not None and item.fence == 1 and run.parent is None:
                self._begin(item, run, event, None)
            else:
                unknown.append(item)
        if unknown:
            self._begin_read(unknown)
        for id, stop in effects.pokes.items():
            session = self.sessions.get(id)
            if session is None:
                continue
            if stop is not None:
                self._cancel(session, stop)
            else:
                self.look(session)

    def _resume(self, item: Item) -> bool:
        """Does a session of it go on where it stands?"""
        session = self.sessions.get(item.run)
        if session is None:
            return False
        try:
            if session.can_resume and session.fence == item.fence - 1:
                steps = self._reader.memo(item.run, session.seq)
                self._parked.pop(item.run, None)
                session.resume(item.fence, steps)
                return True
            session.drop()
        except Exception as error:
            self._drop(session, "it cannot go on", error)
        return False

    def _cancel(self, session: Session, reason: str) -> None:
        try:
            session.cancel(reason)
        except Exception as error:
            self._drop(session, "it cannot be told that it is over", error)

    def _drop(self, session: Session, why: str, error: Exception) -> None:
        """It is replayed; its lease is given back by the sweep, if it is held."""
        log.error("run %d is dropped: %s", session.run, why, exc_info=error)
        try:
            session.drop()
        finally:
            self.ended(session)

    def _begin_read(self, items: Sequence[Item]) -> None:
        try:
            runs = {run.id: run for run in self._reader.inputs([item.run for item in items])}
            events = {
                e.id: e
                for e in self._reader.events(
                    [r.event for r in runs.values() if r.event is not None]
                )
            }
            parents = [
                run.parent
                for run in runs.values()
                if run.parent is not None and run.parent_step is None
            ]
            origins = {run.id: run for run in self._reader.inputs(parents)} if parents else {}
        except Exception as error:
            if len(items) == 1:
                log.error("run %d cannot be read", items[0].run, exc_info=error)
                return
            # One that cannot be read must not keep the others from it.
            for item in items:
                self._begin_read([item])
            return
        for item in items:
            run = runs.get(item.run)
            if run is None:
                log.error("run %d is not there", item.run)
                continue
            event = events.get(run.event) if run.event is not None else None
            origin = origins.get(run.parent) if run.parent is not None else None
            self._begin(item, run, event, origin)

    def _begin(self, item: Item, run: Run, event: Event | None, origin: Run | None) -> None:
        try:
            function = self._committer.config.functions[item.function]
            steps = self._reader.memo(item.run, UNORDERED) if item.fence > 1 else ()
        except Exception as error:
            log.error("run %d cannot be read", item.run, exc_info=error)
            return
        call = Call(item, run, event, function, origin, steps)
        try:
            self.sessions[item.run] = self._caller.begin(call, self)
        except Exception as error:
            self._not_begun(item, run, function, error)

    def _not_begun(self, item: Item, run: Run, function: Function, error: Exception) -> None:
        """It counts as an attempt: what can never begin must come to an end."""
        log.error("run %d cannot begin", item.run, exc_info=error)
        name = type(error).__name__
        failure = Failure(
            "CannotBegin",
            f"{function.config.slug!r} cannot begin in this worker: {name}: {error}",
            bases=("CannotBegin", "ErrandsError"),
            code="internal_error",
            attempts=item.attempt + 1,
        )
        policy = function.config.retries if run.retries is None else _decode_policy(run.retries)
        again = Again(policy, item.attempt, self.draw())
        self._report_later(RunFailed(item.run, item.fence, _encode(failure), again, seq=item.seq))

    def _report_later(self, report: RunFailed | Released) -> None:
        try:
            self._committer.tell(report)
        except ErrandsError as error:
            log.warning("run %d: not reported: %s", report.run, error)

    # -- leases that nobody executes -----------------------------------------------------------

    def give_back_lost(self) -> None:
        """Release the leases that have had no session for two sweeps in a row."""
        lost = self._without_session()
        for run, fence in lost.items():
            if self._lost.get(run) == fence:
                log.warning("run %d is given back: nothing executes it", run)
                self._report_later(Released(run, fence, 0, "its worker has lost it"))
        self._lost = lost

    def _without_session(self) -> dict[RunId, int]:
        # A copy, because the committer's thread changes it.
        leases = self._committer.leases.copy()
        return {run: fence for run, fence in leases.items() if run not in self.sessions}

    async def give_back_rest(self, why: str) -> None:
        """When all sessions are gone: give back whatever is still leased."""
        rest = self._without_session()
        await asyncio.gather(
            *[self._give_back(Released(run, fence, 0, why)) for run, fence in rest.items()]
        )

    async def _give_back(self, report: Released) -> None:
        await self._committer.submit(report)

    # -- the sessions' Journal -----------------------------------------------------------------

    def submit(self, report: Report) -> Awaitable[Any]:
        try:
            return self._committer.submit(report, loop=self._loop)
        except Unavailable:
            # Nothing can be reported from here any more: as good as a lost lease, and so it ends.
            ticket: Ticket[Any] = Ticket(self._loop)
            ticket.settle(LEASE_LOST)
            return ticket

    def tell(self, report: Report) -> None:
        # Where nothing can be reported any more, whoever takes the run over does it again.
        try:
            self._committer.tell(report)
        except Unavailable:
            return

    def now(self) -> int:
        return self._clock.now()

    def new_id(self) -> int:
        return self._committer.new_id()

    def draw(self) -> float:
        return self._chance.draw()

    def public_id(self, number: int) -> str:
        return public_id(number, self._key)

    def look(self, session: Session) -> None:
        try:
            session.refresh(self._reader.memo(session.run, session.seq))
        except Exception as error:
            # It would wait for ever for what it does not see.
            self._drop(session, "what it waits for cannot be read", error)

    def parked(self, session: Session) -> None:
        if self.sessions.get(session.run) is not session:
            return
        self._parked[session.run] = session
        if len(self._parked) > self._parked_max:
            self._evict()
        self.on_idle()

    def _evict(self) -> None:
        """Drop the session that has been parked longest, of those that can be."""
        for session in self._parked.values():
            if session.can_be_dropped:
                session.drop()
                break
        self._evicted += 1
        if self._evicted % COLLECT_EVERY == 0:
            # A suspended coroutine and what it waits for refer to each other in a circle, and have
            # lived long enough to be looked at last: a million sleepers would fill the memory
            # first.
            gc.collect()

    def evict_all(self) -> None:
        """Drop every parked session that can be."""
        for session in list(self._parked.values()):
            if session.can_be_dropped:
                session.drop()

    def ended(self, session: Session) -> None:
        if self.sessions.get(session.run) is session:
            del self.sessions[session.run]
            self._parked.pop(session.run, None)
        self.on_idle()

    # -- stopping ------------------------------------------------------------------------------

    def drop_all(self) -> None:
        """Forget everything at once: what others have taken over must not go on here."""
        for session in list(self.sessions.values()):
            session.drop()

    async def release_all(self, why: str) -> None:
        """Give back what still executes; nothing begins any more."""
        self._is_stopping = True
        released = [session.release(why) for session in self.executing]
        try:
            await asyncio.gather(*released)
        finally:
            self.drop_all()
