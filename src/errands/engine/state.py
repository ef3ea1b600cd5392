"""What a batch knows: what was loaded for it, plus what its earlier inputs decided.

Rules read it; only `engine.absorb` changes it, with transitions. Afterwards it holds, table by
table, what is to be written: for rows that move, their last image only.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Generic, TypeVar

from errands.engine import transition as t
from errands.engine.config import Config
from errands.model.event import Event
from errands.model.function import Function
from errands.model.ids import EventId, RunId, WorkerId
from errands.model.item import Item, Urgency
from errands.model.run import Done, Label, LogLine, Progress, Record, Run
from errands.model.step import Shape, Step, Wait
from errands.model.timer import Timer
from errands.model.worker import Worker

K = TypeVar("K")
V = TypeVar("V")

PAGE = 100
"""Waits looked at for one event and key in one batch; the others follow in later ones."""


class Rows(Generic[K, V]):
    """A table's rows by key, as loaded and since changed."""

    __slots__ = ("before", "now")

    def __init__(self) -> None:
        self.now: dict[K, V | None] = {}
        self.before: dict[K, V | None] = {}

    def get(self, key: K) -> V | None:
        return self.now.get(key)

    def put(self, key: K, row: V | None) -> None:
        if key not in self.before:
            self.before[key] = self.now.get(key)
        self.now[key] = row

    def inserted(self) -> list[V]:
        now = self.now
        return [
            row for key, old in self.before.items() if old is None and (row := now[key]) is not None
        ]

    def updated(self) -> list[V]:
        now = self.now
        return [
            row
            for key, old in self.before.items()
            if old is not None and (row := now[key]) is not None and row is not old
        ]

    def deleted(self) -> list[K]:
        now = self.now
        return [key for key, old in self.before.items() if old is not None and now[key] is None]


class Marks(Generic[K, V]):
    """Rows that only come and go: what comes and goes in one batch was never there."""

    __slots__ = ("added", "gone")

    def __init__(self) -> None:
        self.added: dict[K, V] = {}
        self.gone: dict[K, None] = {}

    def add(self, key: K, row: V) -> None:
        if key in self.gone:
            del self.gone[key]
        else:
            self.added[key] = row

    def remove(self, key: K) -> None:
        if key in self.added:
            del self.added[key]
        else:
            self.gone[key] = None


class Here:
    """The process that decides: who it is, and what it can take on."""

    def __init__(self, worker: WorkerId, key: bytes, keep_ms: int) -> None:
        self.worker = worker
        self.key = key
        """Secret of the installation: from ids to public ids."""
        self.keep_ms = keep_ms
        """How long finished runs are kept."""
        self.known: dict[RunId, Item] = {}
        """Items leased here, as they stand in the store: exact as long as nobody else has
        committed.
        """
        self.settled: dict[RunId, None] = {}
        """Those of them of which every result has been seen, and no step is open."""
        self.serves: frozenset[int] = frozenset()
        self.room = 0
        self.suspects = 0
        self.cut_ms = 1
        """What the clock cuts off when it is read, at most: 0 only where time is exact, in tests.
        """


class State:
    """See the module. Tables are named as in the store."""

    def __init__(self, here: Here, config: Config, now: int, new_id: Callable[[], int]) -> None:
        self.here, self.config, self.now, self.new_id = here, config, now, new_id
        self.room = here.room
        self.reserved = 0
        """Leases that the decision being made has given so far; zero between decisions."""
        self.is_alive = True
        """Whether this process has not been taken for dead."""
        self.config_changed = False
        # Loaded, and moved.
        self.items: Rows[RunId, Item] = Rows()
        self.steps: Rows[tuple[RunId, str], Step] = Rows()
        self.dedup: Rows[tuple[int, str], tuple[int, int]] = Rows()
        self.workers: Rows[WorkerId, Worker] = Rows()
        self.unseen: dict[RunId, dict[str, None]] = {}
        """Ids of the steps of a run whose results it has not seen: open ones, and resolved ones."""
        self.waits: dict[int, list[Wait]] = {}
        """The first PAGE waits under a key, and those opened in this batch."""
        self.pages: dict[tuple[int, RunId, str], Sequence[Wait]] = {}
        """PAGE waits under a key behind a position, as they were loaded. What the batch opens or
        closes does not move where a page ends.
        """
        self.said: dict[RunId, Progress] = {}
        """How far external jobs had said they were."""
        self.events: dict[EventId, Event] = {}
        self.runs: dict[RunId, Run] = {}
        self.busy_lanes: dict[int, int] = {}
        """Lanes in which somebody stands ready already, and the most urgent class there."""
        self.ended: dict[RunId, None] = {}
        """Runs that are over, of those asked for; and those that the batch has ended."""
        self.last_wait = 0
        """Number of the last wait that was registered."""
        self.inbox: dict[int, None] = {}
        """Which of the follow-ups at hand are still to be decided."""
        self.claimable: Sequence[Item] = ()
        self.held: dict[WorkerId, list[Item]] = {}
        # Only written.
        self.ready: Marks[tuple[int, int, int], RunId] = Marks()
        self.timers: Marks[Timer, None] = Marks()
        self.wait_rows: Marks[tuple[int, RunId, str], Wait] = Marks()
        self.new_events: list[Event] = []
        self.new_runs: list[Run] = []
        self.labels: list[Label] = []
        self.done: list[Done] = []
        self.records: list[Record] = []
        self.logs: list[LogLine] = []
        self.progress: dict[RunId, Progress] = {}
        self.queued: list[tuple[Any, WorkerId | None]] = []
        """Follow-ups, and who decides them; None: anybody."""
        self.inbox_moved: list[tuple[int, WorkerId]] = []
        self.inbox_done: list[int] = []
        self.inbox_freed: list[WorkerId] = []
        self.functions: list[Function] = []
        self.shapes: list[Shape] = []
        self.beats: list[tuple[WorkerId, int]] = []
        self.trimmed: list[t.Trimmed] = []
        self.poked: dict[RunId, str | None] = {}

    # -- what rules ask ------------------------------------------------------------------------

    def function(self, item_or_run: Item | Run) -> Function:
        return self.config.functions[item_or_run.function]

    def after(self, milliseconds: int) -> int:
        """Unix ms at which so much time has passed for certain: nothing is ever early."""
        return self.now + milliseconds + self.here.cut_ms

    def can_lease(self, function: int, urgency: Urgency = Urgency.STARTS) -> bool:
        """May a new or woken run of this function begin here at once, past nobody whose turn it
        is?
        """
        if self.room <= self.reserved or function not in self.here.serves:
            return False
        ahead = self.busy_lanes.get(function)
        # What continues goes before what starts, ready or not. What starts passes nobody: not
        # even suspects, which would wait for ever.
        return ahead is None or (urgency == Urgency.CONTINUES and ahead > Urgency.CONTINUES)

    def unseen_steps(self, run: RunId) -> Iterator[Step]:
        """Steps whose results the run has not seen, open or resolved."""
        for id in self.unseen.get(run, ()):
            step = self.steps.get((run, id))
            if step is not None and step.seq is None:
                yield step
