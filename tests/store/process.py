"""A process at a store, driven by hand: its committer takes a batch when the test says so."""

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from errands.clock import IdSource
from errands.engine.absorb import absorb
from errands.engine.config import Config
from errands.engine.input import Input, Registered, Sent
from errands.engine.state import Here, State
from errands.engine.transition import BeatKept, WorkerKept
from errands.executors.committer import Committer, Effects
from errands.executors.ticket import Ticket
from errands.model.call import RunReturned
from errands.model.function import AppConfig, FunctionConfig, FunctionKind, Trigger
from errands.model.ids import FunctionId, RunId, WorkerId, make_id
from errands.model.item import Item
from errands.model.job import NewJob
from errands.model.step import Step, StepKind, StepStatus
from errands.model.worker import Worker, WorkerState
from errands.store.cycle import Entry
from errands.store.interface import Store

NOW = 1_800_000_000_000
KEEP_MS = 1_000
WELCOME = FunctionConfig("welcome", "welcome", FunctionKind.EVENT, (Trigger("user/signed.up"),))
REPORT = FunctionConfig("report", "report", FunctionKind.JOB)
OTHER = FunctionConfig("other", "other", FunctionKind.JOB)


class StillClock:
    """Unix ms that only a test moves."""

    def __init__(self, ms: int = NOW) -> None:
        self.ms = ms
        self.pace = 0
        """How far it goes on each time it is read."""

    def now(self) -> int:
        self.ms += self.pace
        return self.ms


class Process:
    """Joined as a worker, with the functions above registered."""

    def __init__(
        self,
        store: Store,
        clock: StillClock,
        *,
        concurrency: int = 0,
        functions: Sequence[FunctionConfig] = (WELCOME, REPORT, OTHER),
    ) -> None:
        self.store, self.clock = store, clock
        self.leases: dict[RunId, Item] = {}
        """What this process was given to execute."""
        self.pokes: dict[RunId, str | None] = {}
        self.after_batch: Callable[[], object] = lambda: None
        self.times_told: Counter[Ticket[Any]] = Counter()
        self._told: dict[Ticket[Any], Entry] = {}
        self.worker = join(store, clock, concurrency)
        here = Here(self.worker.id, store.reader.key(), KEEP_MS)
        self.new_id = IdSource(self.worker.node, clock)
        self.committer = Committer(
            store, here, clock, self.new_id, deliver=self._deliver, config=store.reader.config()
        )
        if functions:
            self.decide(Registered(AppConfig("shop", tuple(functions)), is_complete=False))
        if concurrency:
            self.committer.serve(frozenset(store.reader.config().functions), concurrency)

    def _deliver(self, committer: Committer, entries: list[Entry], effects: Effects | None) -> None:
        for entry in entries:
            if entry.ticket is not None:
                self._told.setdefault(entry.ticket, entry)
                self.times_told[entry.ticket] += 1
        if effects is not None:
            for item, _, _ in effects.leases:
                self.leases[item.run] = item
            self.pokes |= effects.pokes
        self.after_batch()

    # -- inputs --------------------------------------------------------------------------------

    def submit(self, given: Input, *, is_door: bool = False) -> Ticket[Any]:
        return self.committer.submit(given, is_door=is_door)

    def answer(self, ticket: Ticket[Any]) -> Any:
        """The engine's answer, or the error that its caller would get."""
        entry = self._told[ticket]
        return entry.answer if entry.error is None else entry.error

    def is_told(self, ticket: Ticket[Any]) -> bool:
        return ticket in self._told

    def drain(self) -> int:
        """Batches until there is nothing to do."""
        batches = 0
        while self.committer.step():
            batches += 1
        return batches

    def decide(self, *inputs: Input) -> list[Any]:
        """The answers to these, decided in one batch, and whatever follows from them."""
        tickets = [self.submit(given) for given in inputs]
        self.drain()
        return [self.answer(ticket) for ticket in tickets]

    # -- what tests begin with -----------------------------------------------------------------

    def function(self, slug: str) -> FunctionId:
        return self.store.reader.config().by_slug["shop", slug].id

    def enqueue(self, count: int = 1, function: str = "report", **options: Any) -> list[RunId]:
        """Jobs; executed here at once, if there is room."""
        jobs = tuple(NewJob("shop", function, b"{}", **options) for _ in range(count))
        (accepted,) = self.decide(Sent(jobs))
        return [RunId(id) for id in accepted.ids]

    def finish(self, *runs: RunId) -> None:
        self.decide(*(RunReturned(run, self.leases[run].fence, b"null") for run in runs))


def join(store: Store, clock: StillClock, concurrency: int = 0) -> Worker:
    """One more process that uses this store."""
    now = clock.now()
    with store.transaction() as transaction:
        node = transaction.free_node()
        store.hold_node(node)
        id = WorkerId(make_id(now, node, 0))
        worker = Worker(id, node, 1, "host", "shop", WorkerState.ALIVE, now, now, concurrency)
        state = State(Here(id, b"", KEEP_MS), Config(0), now, IdSource(node, clock))
        absorb(state, (WorkerKept(worker), BeatKept(id, now)))
        transaction.apply(state)
    return worker


def returned(run: RunId, id: str, output: bytes = b"1") -> Step:
    """A step that has a result."""
    return Step(run, id, StepKind.RUN, StepStatus.COMPLETED, seq=0, output=output)
