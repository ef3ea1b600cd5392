"""Sessions: each leased run is executed by one, reports through it, and may be parked in it.

Parked sessions are kept, the most recent ones, so that a run goes on where it stands; the others
are dropped, and their runs replayed from what is remembered.
"""

from collections import OrderedDict
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from errands.clock import Chance, Clock
from errands.executors.committer import Committer, Effects
from errands.model.call import Call, Caller, Report, Session
from errands.model.event import Event
from errands.model.ids import RunId, public_id
from errands.model.item import Item
from errands.model.run import Run
from errands.model.step import UNORDERED
from errands.store.interface import Reader

PARKED_MAX = 1_000


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
    ) -> None:
        self.sessions: dict[RunId, Session] = {}
        self.on_idle: Callable[[], None] = lambda: None
        """Called when a session has ended or is parked."""
        self._committer, self._reader, self._caller = committer, reader, caller
        self._clock, self._chance = clock, chance
        self._parked: OrderedDict[RunId, Session] = OrderedDict()
        self._parked_max = parked_max
        self._key = committer.here.key

    @property
    def executing(self) -> list[Session]:
        return [session for run, session in self.sessions.items() if run not in self._parked]

    # -- leases --------------------------------------------------------------------------------

    def acted(self, effects: Effects) -> None:
        """Execute what was leased; tell sessions what happened to their runs."""
        unknown: list[Item] = []
        for item, run, event in effects.leases:
            session = self.sessions.get(item.run)
            if session is not None:
                if session.can_resume and session.fence == item.fence - 1:
                    self._parked.pop(item.run, None)
                    session.resume(item.fence, self._reader.memo(item.run, session.seq))
                    continue
                session.drop()
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
                session.cancel(stop)
            else:
                self.look(session)

    def _begin_read(self, items: Sequence[Item]) -> None:
        runs = {run.id: run for run in self._reader.inputs([item.run for item in items])}
        events = {
            e.id: e
            for e in self._reader.events([r.event for r in runs.values() if r.event is not None])
        }
        parents = [
            run.parent
            for run in runs.values()
            if run.parent is not None and run.parent_step is None
        ]
        origins = {run.id: run for run in self._reader.inputs(parents)} if parents else {}
        for item in items:
            run = runs[item.run]
            event = events.get(run.event) if run.event is not None else None
            origin = origins.get(run.parent) if run.parent is not None else None
            self._begin(item, run, event, origin)

    def _begin(self, item: Item, run: Run, event: Event | None, origin: Run | None) -> None:
        function = self._committer.config.functions[item.function]
        steps = self._reader.memo(item.run, UNORDERED) if item.fence > 1 else ()
        call = Call(item, run, event, function, origin, steps)
        self.sessions[item.run] = self._caller.begin(call, self)

    # -- the sessions' Journal -----------------------------------------------------------------

    def submit(self, report: Report) -> Awaitable[Any]:
        return self._committer.submit(report)

    def now(self) -> int:
        return self._clock.now()

    def new_id(self) -> int:
        return self._committer.new_id()

    def draw(self) -> float:
        return self._chance.draw()

    def public_id(self, number: int) -> str:
        return public_id(number, self._key)

    def look(self, session: Session) -> None:
        session.refresh(self._reader.memo(session.run, session.seq))

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
                return

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
        """Give back what still executes."""
        for session in self.executing:
            await session.release(why)
        self.drop_all()
