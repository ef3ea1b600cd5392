"""What really happened, written down outside of the store, and checked as it happens.

Three witnesses: the sender says what was accepted, the functions say what they executed and saw,
and each commit shows what it changed, in order. None of them reads the store.
"""

import contextvars
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import msgspec

from errands.engine.input import CancelAsked
from errands.engine.state import State
from errands.model.call import KEPT, Refused
from errands.model.errors import InternalError
from errands.model.function import EXTERNAL
from errands.model.ids import RunId, parse_id
from errands.model.item import Item, Place
from errands.model.job import ExternalJob
from errands.model.run import Done
from errands.model.step import UNORDERED, Step, StepKind, StepStatus
from errands.sdk.context import SESSION
from errands.store.cycle import Entry

if TYPE_CHECKING:
    from tests.simulation.process import Process
    from tests.simulation.world import World

RETRY_MS_MIN = 100
"""The shortest delay that the workload's retries ask for."""
LIFE: contextvars.ContextVar["Life"] = contextvars.ContextVar("simulated_life")


class Sending:
    """One call of the sender, and what it was told."""

    def __init__(self, what: list[tuple[str, str]], key: str | None, first: "Sending | None"):
        self.what = what
        """Name of the event, or "job/…", and the unique number of each."""
        self.key, self.first = key, first
        """Of a repetition under the same key: the first one."""
        self.outcome = "unknown"
        """accepted, refused; unknown: the sender died before it was told."""
        self.ids: list[str] = []


class Life:
    """One execution of a run's code, from its start or from the memo's."""

    def __init__(self, book: "Book", process: "Process", run: RunId, durability: str) -> None:
        self.book, self.process, self.run, self.durability = book, process, run, durability
        self.saw_: list[tuple[str, Any]] = []

    def saw(self, id: str, value: Any) -> Any:
        """The code was given this as the step's result."""
        if self.process.is_alive:
            self.book.saw(self, id, value)
        return value

    def decides(self, what: str, value: Any) -> None:
        """The code has gone this way, and something after it is kept."""
        if self.process.is_alive:
            self.book.decided(self, what, value)


class Book:
    def __init__(self, world: "World", key: bytes) -> None:
        self.world, self.key = world, key
        self.sendings: list[Sending] = []
        self.step_sendings: dict[tuple[RunId, str], list[tuple[str, str]]] = {}
        """What a step was about to send: sent if, and only if, its result is kept."""
        self.lives: dict[RunId, list[Life]] = {}
        self.items: dict[RunId, Item] = {}
        self._items_before: dict[RunId, Item | None] = {}
        """As they were before the latest commit, where it changed them."""
        self.steps: dict[tuple[RunId, str], Step] = {}
        self.done: dict[RunId, Done] = {}
        self.external: dict[RunId, str] = {}
        """Runs that are external jobs, and their own ids."""
        self._decisions: dict[tuple[RunId, str], Any] = {}
        self._seen: dict[tuple[RunId, str], None] = {}
        """Results that code was given."""
        self.cancelled: dict[RunId, None] = {}
        self.executions: dict[tuple[RunId, str], int] = {}
        self._not_before: dict[tuple[RunId, str], int] = {}
        """The wall clock before which the next attempt of a step may not begin."""
        self.waits: dict[tuple[RunId, str], tuple[str, int]] = {}
        """What a run waits for: a key, and a least amount."""
        self.commits = 0
        self.check_indexes: Callable[[], list[str]] = list

    # -- functions -----------------------------------------------------------------------------

    def begin(self, process: "Process") -> Life:
        """A function's code starts."""
        session = SESSION.get()
        assert session is not None
        life = Life(self, process, session.run, session.definition.durability)
        LIFE.set(life)
        self.lives.setdefault(life.run, []).append(life)
        self.world.note(process, "executes", session.function_id, self.name(life.run))
        return life

    def executes(self, life: Life, id: str) -> None:
        """A step's function is called."""
        key = (life.run, id)
        self.executions[key] = self.executions.get(key, 0) + 1
        self.world.note(life.process, "executes step", self.name(life.run), id)
        step = self.steps.get(key)
        holder = self.items.get(life.run)
        is_holder = holder is not None and holder.worker == life.process.committer.here.worker
        if step is not None and not step.is_open and is_holder and life.run not in self.done:
            self._broken(f"step {id} of {self.name(life.run)} is executed after it was kept")
        if step is not None and step.status == StepStatus.RETRYING and is_holder:
            early = self._not_before.get(key, 0) - self.world.now()
            if early > 0 and not self.world.turned_back_at:
                self._broken(f"attempt {step.attempt} of step {id} is {early} ms early")

    def saw(self, life: Life, id: str, value: Any) -> None:
        life.saw_.append((id, value))
        self._seen[life.run, id] = None
        self.world.note(life.process, "sees", self.name(life.run), id, value)
        step = self.steps.get((life.run, id))
        if life.durability == "run" and (step is None or step.kind == StepKind.RUN):
            return
        if step is None or step.is_open:
            self._broken(f"{self.name(life.run)} sees step {id}, which is not kept")
            return
        if step.kind != StepKind.RUN:
            return
        kept = msgspec.json.decode(step.output or b"null")
        if step.status == StepStatus.FAILED:
            kept = f"failed: {kept['message']}"
        if kept != value:
            self._broken(f"{self.name(life.run)} sees {value!r} of step {id}, kept is {kept!r}")

    def decided(self, life: Life, what: str, value: Any) -> None:
        first = self._decisions.setdefault((life.run, what), value)
        if first != value:
            self._broken(f"{self.name(life.run)} decided {first} about {what}, and then {value}")

    def slept(self, life: Life, id: str, asked_at: int, asked_time: float, ms: int) -> None:
        """A sleep is over, of which the code said that it began at `asked_at`."""
        if any(at >= asked_time for at in self.world.turned_back_at):
            return
        early = asked_at + ms - self.world.now()
        if early > 0:
            self._broken(f"sleep {id} of {self.name(life.run)} ends {early} ms early")

    # -- commits -------------------------------------------------------------------------------

    def committed(self, process: "Process", state: State) -> None:
        """This is durable now. Nobody has been told yet."""
        self.commits += 1
        self._items_before = dict(state.items.before)
        for run in state.items.before:
            now = state.items.now[run]
            if now is None:
                self.items.pop(run, None)
                continue
            if run in self.done:
                self._broken(f"{self.name(run)} is over, and yet goes on")
            self.items[run] = now
        for new_run in state.new_runs:
            if new_run.function == EXTERNAL:
                asked = msgspec.json.decode(new_run.input or b"", type=ExternalJob)
                self.external[new_run.id] = asked.key or ""
        for key in state.steps.before:
            new = state.steps.now[key]
            assert new is not None
            self._step_committed(new)
        for done in state.done:
            if done.run in self.done:
                self._broken(f"{self.name(done.run)} has ended twice")
            self.done[done.run] = done
        places = {run: state.items.now[run] for run in state.items.before}
        moved = [
            f"{self.name(run)}:{'over' if item is None else item.place.name.lower()}"
            for run, item in places.items()
        ]
        steps = [f"{self.name(r)}/{s}" for r, s in state.steps.before]
        queued = [type(follow_up).__name__ for follow_up, _ in state.queued]
        workers = [
            f"worker{id & 0xFFFFFFFF:x}:{now.state.name.lower()}"
            for id in state.workers.before
            if (now := state.workers.now[id])
        ]
        if moved or steps or queued or workers:
            self.world.note(process, "commits", *workers, *moved, *steps, *queued)
        self._look_for_unmatched(state)
        if self.commits % 20 == 0:
            for wrong in self.check_indexes():
                self._broken(wrong)

    def _step_committed(self, new: Step) -> None:
        key = (new.run, new.id)
        old = self.steps.get(key)
        where = f"step {new.id} of {self.name(new.run)}"
        if new.run in self.done:
            self._broken(f"{where} is written after the run's end")
        if old is not None and not old.is_open:
            # What the code has given up before it saw the result is taken back.
            is_given_up = new.status == StepStatus.ABANDONED and key not in self._seen
            if (old.status, old.output) != (new.status, new.output) and not is_given_up:
                self._broken(f"{where} was kept as {old.output!r}, and now {new.output!r}")
            elif old.seq is not None and new.seq not in (old.seq, UNORDERED):
                self._broken(f"{where} was the run's {old.seq}th result, and now its {new.seq}th")
        if new.status == StepStatus.RETRYING and new.due is not None:
            self._not_before[key] = new.due
            if new.due - new.at < RETRY_MS_MIN:
                self._broken(f"{where} is tried again after {new.due - new.at} ms")
        elif new.kind == StepKind.SLEEP and not new.is_open and old is not None and old.due:
            early = old.due - new.at
            if early > 0 and new.status == StepStatus.COMPLETED:
                self._broken(f"{where} ends {early} ms before it is due")
        self.steps[key] = new

    def _look_for_unmatched(self, state: State) -> None:
        """An event that was accepted while a run waited for it must have hit."""
        hits = {(getattr(f, "run", 0), getattr(f, "step", "")) for f, _ in state.queued}
        has_more = any(type(f).__name__ in ("WaitsLeft", "Expand") for f, _ in state.queued)
        for event in state.new_events:
            if event.name != "sim/paid" or has_more:
                continue
            data = msgspec.json.decode(event.data)
            for key, (wanted, least) in self.waits.items():
                step = self.steps.get(key)
                if step is None or not step.is_open or key in state.steps.before:
                    continue
                if data["key"] == wanted and data["amount"] >= least and key not in hits:
                    self._broken(f"{self.name(key[0])} waits for {event.name} {data}, unnoticed")

    def answered(self, process: "Process", entries: list[Entry]) -> None:
        """These answers are about to be given. Who held the lease before that commit?"""
        doubled = process.doubled
        for entry in entries:
            given, answer = entry.input, entry.answer
            if isinstance(entry.error, InternalError):
                if not any(one is given for one in doubled):
                    self.world.fault_found(f"{type(given).__name__} was not decided", entry.error)
                continue
            if entry.error is not None or isinstance(answer, Refused):
                continue
            if isinstance(given, CancelAsked) and answer == KEPT:
                self.cancelled[given.run] = None
            fence = getattr(given, "fence", None)
            if fence is not None:
                self._check_fence(process, given, fence)

    def _check_fence(self, process: "Process", given: Any, fence: int) -> None:
        run = given.run
        before = self._items_before.get(run) or self.items.get(run)
        what = f"{type(given).__name__} of {self.name(run)}"
        if before is None:
            self._broken(f"{what} was kept after the run's end")
        elif before.fence != fence:
            self._broken(f"{what} was kept under fence {fence}, the lease has {before.fence}")
        elif type(given).__name__ != "Resumed" and (
            before.place != Place.RUNNING or before.worker != process.committer.here.worker
        ):
            self._broken(f"{what} was kept though {process} does not hold the lease")

    # -- names ---------------------------------------------------------------------------------

    def name(self, run: int) -> str:
        """A short name for a run, the same in every simulation of this seed."""
        return f"run{run & 0xFFFFFFFF:x}"

    def run_of(self, public: str) -> RunId:
        number = parse_id(public, self.key)
        assert number is not None
        return RunId(number)

    def _broken(self, what: str) -> None:
        self.world.violate(what)
