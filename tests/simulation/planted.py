"""Bugs that the simulation must find, planted by patching engine, executors, store or SDK.

Each is one that somebody could make: a check forgotten, a row not written, a step too early. Some
had been made, and were found by the simulation.
"""

from collections.abc import Callable, Generator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import Any
from unittest.mock import patch

from msgspec.structs import replace

from errands.engine import advance, cancel, decide, decision, ingest, lease, liveness, wait
from errands.engine.cancel import cancel_asked
from errands.engine.decision import Decision
from errands.engine.external import job_changed
from errands.engine.input import CancelAsked, JobChanged, Sent, WorkerLost
from errands.engine.liveness import worker_lost
from errands.engine.transition import FollowUpQueued, ItemMoved, RunFinished
from errands.executors.committer import Committer
from errands.model.call import KEPT, NOT_IDLE, RUN_IS_OVER, Accepted, Parked, WaitOpened
from errands.model.item import Place
from errands.model.run import RunStatus
from errands.model.step import StepKind
from errands.sdk.course import Course
from errands.sdk.live import LiveSession
from errands.store.cycle import Entry
from errands.store.sqlite.reader import SqliteReader
from errands.store.sqlite.store import SqliteTransaction

Plant = Callable[[], AbstractContextManager[object]]
PLANTED: dict[str, Plant] = {}


def planted(plant: Callable[[], Generator[None]]) -> Plant:
    manager = contextmanager(plant)
    PLANTED[plant.__name__] = manager
    return manager


def rule(kind: type, new: Callable[[Any, Any], Decision]) -> AbstractContextManager[object]:
    """Another rule for a kind of input."""
    return patch.dict(decide.RULES, {kind: new})


def without(decided: Decision, *kinds: type) -> Decision:
    left = [one for one in decided.transitions if not isinstance(one, kinds)]
    return Decision(decided.answer, left)


# -- leases ----------------------------------------------------------------------------------------


@planted
def fence_is_not_checked() -> Generator[None]:
    def holder(state: Any, run: Any, fence: int) -> Any:
        return state.items.get(run) or RUN_IS_OVER

    with ExitStack() as stack:
        for module in (decision, advance, wait, lease):
            stack.enter_context(patch.object(module, "holder", holder))
        yield


@planted
def leases_of_the_dead_are_not_taken_over() -> Generator[None]:
    with rule(WorkerLost, lambda lost, state: without(worker_lost(lost, state), ItemMoved)):
        yield


@planted
def stale_session_goes_on() -> Generator[None]:
    """A parked session resumes whatever lease comes, though others executed the run meanwhile."""

    class AnyFence(int):
        def __eq__(self, other: object) -> bool:
            return True

        __hash__ = int.__hash__

    def fence(self: LiveSession) -> int:
        return AnyFence(self._lease.fence)

    with patch.object(LiveSession, "fence", property(fence)):
        yield


@planted
def room_is_not_given_back() -> Generator[None]:
    """Of some runs, a worker believes for good that it executes them."""
    before = Committer._forget_lease

    def forget_lease(self: Any, run: Any) -> None:
        if run % 8:
            before(self, run)

    with patch.object(Committer, "_forget_lease", forget_lease):
        yield


@planted
def cancelled_run_goes_on() -> Generator[None]:
    """Its holder is told, and the run is left as it is."""

    def lenient(given: CancelAsked, state: Any) -> Decision:
        item = state.items.get(given.run)
        decided = cancel_asked(given, state)
        is_running = item is not None and item.place == Place.RUNNING
        return without(decided, RunFinished) if is_running else decided

    with rule(CancelAsked, lenient):
        yield


@planted
def takeover_revives_what_has_just_ended() -> Generator[None]:
    """Of what a dead worker held, the loaded rows count, not what the batch decided since."""
    with patch.object(liveness, "_held", lambda worker, state: state.held.get(worker, ())):
        yield


# -- waits -----------------------------------------------------------------------------------------


@planted
def parked_though_a_wait_is_resolved() -> Generator[None]:
    def careless(report: Parked, state: Any) -> Decision:
        decided = wait.parked(report, state)
        if decided.answer is not NOT_IDLE:
            return decided
        return Decision(KEPT, wait._park(state.items.get(report.run), report.seq, state))

    with rule(Parked, careless):
        yield


@planted
def numbers_are_stale_after_a_crash() -> Generator[None]:
    """A wait is resolved while its run stands ready after a crash, and takes a number in the order
    of results that the lost session had given to another.
    """
    before = wait._tell

    def tell(item: Any, step: Any, state: Any) -> Any:
        if item.place == Place.READY and not step.is_open:
            step = replace(step, seq=item.seq)
        return before(item, step, state)

    with patch.object(wait, "_tell", tell):
        yield


@planted
def sleep_ends_early() -> Generator[None]:
    def hasty(report: WaitOpened, state: Any) -> Decision:
        if report.duration_ms is not None and report.step.kind == StepKind.SLEEP:
            report = replace(report, duration_ms=max(0, report.duration_ms - 30))
        return wait.wait_opened(report, state)

    with rule(WaitOpened, hasty):
        yield


@planted
def parent_is_not_told_of_failures() -> Generator[None]:
    before = advance.end_run

    def end_run(item: Any, state: Any, status: RunStatus, output: bytes) -> list[Any]:
        ended = before(item, state, status, output)
        if status != RunStatus.FAILED:
            return ended
        return [one for one in ended if not isinstance(one, FollowUpQueued)]

    with patch.object(advance, "end_run", end_run), patch.object(cancel, "end_run", end_run):
        yield


# -- steps -----------------------------------------------------------------------------------------


def _forgetful_memo() -> AbstractContextManager[object]:
    """A replay is not given the last result."""
    before = SqliteReader.memo

    def memo(self: Any, id: Any, seq: int) -> list[Any]:
        steps = before(self, id, seq)
        kept = [step for step in steps if step.kind == StepKind.RUN and not step.is_open]
        return [step for step in steps if not kept or step is not kept[-1]]

    return patch.object(SqliteReader, "memo", memo)


@planted
def kept_step_is_executed_again() -> Generator[None]:
    with _forgetful_memo():
        yield


@planted
def memo_is_overwritten() -> Generator[None]:
    """A step that is executed again replaces the row of the first result."""
    before = SqliteTransaction._many

    def many(self: Any, name: str, values: Sequence[Any]) -> list[Any]:
        if name == "insert_steps":
            for row in values:
                self._db.execute("DELETE FROM step WHERE run = ? AND id = ?", row[:2])
        return before(self, name, values)

    with _forgetful_memo(), patch.object(SqliteTransaction, "_many", many):
        yield


@planted
def late_report_undoes_a_result() -> Generator[None]:
    """A report that comes twice is decided twice."""
    with patch.object(advance, "_is_past", lambda *_: False):
        yield


@planted
def held_back_results_are_not_looked_up() -> Generator[None]:
    """With durability="run", a step that has a row because it once failed."""
    with patch.object(decide, "_needs_saves", lambda *_: None):
        yield


@planted
def results_come_in_another_order() -> Generator[None]:
    """A replay gives what is remembered by name, not in the order in which it was seen."""
    before = Course._remember

    def remember(self: Any, steps: Any) -> list[str]:
        return sorted(before(self, steps))

    with patch.object(Course, "_remember", remember):
        yield


@planted
def retry_begins_at_once() -> Generator[None]:
    before = advance.next_attempt_at

    def next_attempt_at(again: Any, now: int, *more: Any) -> int | None:
        return None if before(again, now, *more) is None else now

    with patch.object(advance, "next_attempt_at", next_attempt_at):
        yield


# -- what is accepted ------------------------------------------------------------------------------


@planted
def dedup_is_forgotten() -> Generator[None]:
    with patch.object(ingest, "_first", lambda *_: None):
        yield


@planted
def answer_comes_before_the_commit() -> Generator[None]:
    before = Committer._commit

    def hasty(self: Any, batch: list[Entry]) -> Any:
        for entry in batch:
            if isinstance(entry.input, Sent) and entry.ticket is not None:
                ticket, entry.ticket = entry.ticket, None
                ids = tuple(self.new_id() for _ in entry.input.items)
                answer = Accepted(ids, tuple(item.key for item in entry.input.items))
                ticket.loop.call_soon_threadsafe(ticket.settle, answer)
        return before(self, batch)

    with patch.object(Committer, "_commit", hasty):
        yield


@planted
def follow_up_is_decided_twice() -> Generator[None]:
    """Once from memory, and once from the inbox."""
    with patch.object(decide, "FOLLOW_UPS", frozenset[type]()):
        yield


@planted
def follow_up_is_in_memory_only() -> Generator[None]:
    """Nobody reads its row: a crash loses it."""
    before = SqliteTransaction._apply_inbox

    def forgetful(self: Any, state: Any) -> None:
        before(self, state)
        for follow_up, _ in state.queued:
            self._all("move_inbox", -1, follow_up.inbox)

    with patch.object(SqliteTransaction, "_apply_inbox", forgetful):
        yield


# -- external jobs, repetitions --------------------------------------------------------------------


@planted
def last_update_is_lost() -> Generator[None]:
    """The end of an external job is answered, and not kept."""

    def forgetful(given: JobChanged, state: Any) -> Decision:
        return without(job_changed(given, state), RunFinished)

    with rule(JobChanged, forgetful):
        yield


@planted
def job_without_updates_is_executed() -> Generator[None]:
    """When nobody has updated it for long, it is handed to a worker."""

    def given_up(item: Any, state: Any) -> list[Any]:
        return [ItemMoved(lease.leased(item, state))]

    with patch.object(wait, "given_up", given_up):
        yield
