"""One simulated process: what `errands.embedded` makes of a real one, driven by the world.

The committer's thread becomes a series of events in virtual time, so that a commit takes a while
and the loop goes on meanwhile. Everything that a crash takes with it is an attribute of this.
"""

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, cast

from errands.clock import Chance, IdSource, SystemAlarms
from errands.embedded import Embedded
from errands.engine.input import Input
from errands.engine.state import Here
from errands.executors.committer import Committer, Effects
from errands.executors.ticket import Ticket
from errands.model.errors import Unavailable
from errands.sdk.live import LiveCaller
from errands.settings import Settings
from errands.store.cycle import Entry
from errands.store.interface import StoreUnavailable
from tests.simulation.faults import Faults
from tests.simulation.loop import VirtualLoop
from tests.simulation.store import Crashed, WatchedStore
from tests.simulation.world import World, outside_of_loops

if TYPE_CHECKING:
    from tests.simulation.book import Book
    from tests.simulation.workload import SimulatedApp

LEASE_MS = 3_000


class DoublingCommitter(Committer):
    """Is handed some inputs twice: a follow-up from memory and from the inbox, a report again."""

    def __init__(self, process: "Process", *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._process = process

    def submit(
        self,
        given: Input,
        *,
        is_door: bool = False,
        loop: asyncio.AbstractEventLoop | None = None,
    ) -> Ticket[Any]:
        ticket = super().submit(given, is_door=is_door, loop=loop)
        if not is_door and self._process.faults.doubles(given):
            self._process.doubled.append(given)
            delay = self._process.world.random.choice((0.0, 0.01, 1.0))
            self._process.world.after(delay, lambda: self._again(given))
        return ticket

    def _again(self, given: Input) -> None:
        if self._process.is_alive:
            super().submit(given)


class Process(Embedded):
    def __init__(
        self, world: World, book: "Book", app: "SimulatedApp", name: str, concurrency: int
    ) -> None:
        chance = Chance(world.random.getrandbits(32))
        settings = Settings(lease_ms=LEASE_MS, parked=world.random.choice((0, 1, 3, 1_000)))
        alarms = SystemAlarms(world)
        super().__init__(
            lambda: WatchedStore(self), app, settings, clock=world, alarms=alarms, chance=chance
        )
        self.world, self.book, self.name, self.concurrency = world, book, name, concurrency
        self.is_alive, self.is_stopped = True, False
        self.is_open = self._is_closed = False
        self.doubled: list[Input] = []
        """Inputs that were handed over twice."""
        self.when_crashed: Callable[[], None] = lambda: None
        self.faults = Faults(self)
        self.loop = VirtualLoop(world, self)
        self._latency = world.random.choice((0.0002, 0.002, 0.05))
        self._is_woken = False

    def __repr__(self) -> str:
        return self.name

    # -- life ----------------------------------------------------------------------------------

    def start(self, then: Any = None) -> None:
        self.world.note(self, "starts")
        self.loop.create_task(self._live(then))

    async def _live(self, then: Any) -> None:
        try:
            await self.connect()
            if self.concurrency:
                await self._work()
        except (StoreUnavailable, Unavailable, Crashed):
            # A real one would end with an error and be started again.
            self.crash("while it starts")
            return
        self.is_open = True
        if then is not None:
            await then(self)

    async def _work(self) -> None:
        """As `Embedded._working`, for as long as the process lives, without threads."""
        self.say_concurrency(self.concurrency)
        self._home = self.loop
        pool = cast("Any", None)  # the loop has no use for it
        caller = LiveCaller(self.app, pool, pool, self.settings.value_bytes)
        await self.register(is_complete=True)
        self.dispatcher = self.dispatch(caller)
        self.dispatcher.start()
        self.committer.serve(self._served(), self.concurrency)

    def crash(self, when: str) -> None:
        """Its memory is gone; what it has committed is not."""
        if not self.is_alive:
            return
        self.world.note(self, "crashes", when)
        self.is_alive = False
        self.loop.kill()
        self.dispatcher = None
        # Not now: this may be in the middle of a transaction.
        self.world.after(0.0, self.clean_up)
        self.when_crashed()

    def clean_up(self) -> None:
        self._pid = 0  # nothing is left to be closed when the interpreter ends
        self.loop.kill()
        self.loop.bury()
        if hasattr(self, "store") and not self._is_closed:
            self._is_closed = True
            self.store.close()

    def leave(self) -> None:
        """SIGTERM: finish what can be finished, give the rest back, say goodbye."""
        self.loop.create_task(self._leave())

    async def _leave(self) -> None:
        self.world.note(self, "leaves")
        if self.dispatcher is not None:
            await self.dispatcher.stop(self.world.random.choice((0.0, 0.3, 3.0)))
        self.dispatcher = None
        outside_of_loops(self.close)
        self._is_closed = True
        self.crash("no: it has left")

    @property
    def is_well(self) -> bool:
        """It runs, can write, and knows it when it was taken for dead."""
        if not (self.is_alive and self.is_open) or self.is_stopped:
            return False
        if self.loop.blocked_until > self.world.time:
            return False
        # Who only sends joins again when it has something to send.
        is_dead = self.committer.is_declared_dead and self.dispatcher is not None
        return not self.committer.pause_seconds and not is_dead

    def stop_for(self, seconds: float) -> None:
        """SIGSTOP, and SIGCONT later."""
        if self.is_alive and not self.is_stopped:
            self.world.note(self, "is stopped for", round(seconds, 3))
            self.is_stopped = True
            self.world.after(seconds, self._go_on)

    def _go_on(self) -> None:
        self.is_stopped = False
        if self.is_alive:
            self.world.note(self, "goes on")
            self._wake()

    def evict(self) -> None:
        """Memory is short: parked sessions are dropped."""
        if self.dispatcher is not None:
            self.world.note(self, "evicts")
            self.dispatcher.runner.evict_all()

    def block_for(self, seconds: float) -> None:
        """User code blocks the loop; the committer's thread goes on."""
        self.world.note(self, "has a blocked loop for", round(seconds, 3))
        self.loop.blocked_until = self.world.time + seconds

    # -- the committer's thread ----------------------------------------------------------------

    def make_committer(self, here: Here, new_id: IdSource) -> Committer:
        committer = DoublingCommitter(
            self,
            self.store,
            here,
            self.clock,
            new_id,
            deliver=self.deliver,
            wake=self._wake,
            config=self.store.reader.config(),
        )
        committer.beat_ms = self.settings.lease_ms // 3
        return committer

    def drive(self) -> None:
        self._beat()

    def _beat(self) -> None:
        if self.is_alive:
            self._wake()
            self.world.after(self.settings.lease_ms / 3000, self._beat)

    def _wake(self) -> None:
        if not self._is_woken and self.is_alive:
            self._is_woken = True
            self.world.after(self._latency * self.world.random.random() * 2, self._commit)

    def _commit(self) -> None:
        if not self.is_alive or self.is_stopped:
            self._is_woken = False
            return
        self._is_woken = False
        try:
            has_more = outside_of_loops(self.committer.step)
        except Crashed:
            self.crash("in its committer")
            return
        if has_more:
            self._wake()
        elif pause := self.committer.pause_seconds:
            self._is_woken = True
            self.world.after(pause, self._commit)

    # -- answers -------------------------------------------------------------------------------

    def deliver(self, committer: Committer, entries: list[Entry], effects: Effects | None) -> None:
        if not self.is_alive:
            return
        self.book.answered(self, entries)
        super().deliver(committer, entries, effects)

    def _tell(self, tickets: Any, effects: Effects | None) -> None:
        if tickets and self.faults.crashes("between answers"):
            super()._tell(tickets[: self.world.random.randrange(len(tickets))], None)
            self.crash("between answers")
            return
        super()._tell(tickets, effects)
        self.faults.maybe_double(tickets)
