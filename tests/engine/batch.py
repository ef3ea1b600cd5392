"""A batch in memory: rules on plain values, no store."""

from itertools import count
from typing import Any

from errands.engine.absorb import absorb
from errands.engine.config import Config
from errands.engine.decide import decide, prepare
from errands.engine.decision import Decision
from errands.engine.input import Input
from errands.engine.state import Here, State
from errands.model.function import Function, FunctionConfig, FunctionKind, Trigger
from errands.model.ids import FunctionId, RunId, WorkerId
from errands.model.item import Item, Place
from errands.model.step import Step

NOW = 1_800_000_000_000
ME, OTHER = WorkerId(1), WorkerId(2)
KEY = b"k" * 32
WELCOME = Function(
    FunctionId(1),
    "shop",
    FunctionConfig("welcome", "welcome", FunctionKind.EVENT, (Trigger("user/signed.up"),)),
)
REPORT = Function(FunctionId(2), "shop", FunctionConfig("report", "report", FunctionKind.JOB))


class Batch:
    """Decides inputs one after the other, as the cycle does, on what the test has put there."""

    def __init__(
        self, *functions: Function, now: int = NOW, room: int = 0, worker: WorkerId = ME
    ) -> None:
        here = Here(worker, KEY, keep_ms=1_000)
        here.room, here.serves = room, frozenset(f.id for f in functions)
        self._ids = count(1 << 40)
        self.config = Config(1, functions or (WELCOME, REPORT))
        self.state = State(here, self.config, now, lambda: next(self._ids))

    def item(self, **fields: Any) -> Item:
        """An item as if it had been loaded."""
        given: dict[str, Any] = {
            "run": RunId(10), "function": REPORT.id, "place": Place.RUNNING, "updated_at": NOW - 5,
            "fence": 3, "worker": ME, "started_at": NOW - 9,
        }  # fmt: skip
        if fields.get("place", Place.RUNNING) != Place.RUNNING:
            given["worker"] = None
        item = Item(**(given | fields))
        self.state.items.now[item.run] = item
        return item

    def step(self, step: Step) -> Step:
        """A step as if it had been loaded."""
        self.state.steps.now[step.run, step.id] = step
        if step.seq is None:
            self.state.unseen.setdefault(step.run, {})[step.id] = None
        return step

    def decide(self, given: Input) -> Decision:
        self.state.reserved = 0
        decision = decide(given, self.state, prepare(given, self.config, self.state.now))
        absorb(self.state, decision.transitions)
        return decision

    def item_now(self, run: int = 10) -> Item:
        item = self.state.items.get(RunId(run))
        assert item is not None
        return item
