"""Who executes what: claims, fences, takeovers."""

from collections.abc import Callable

import pytest

from errands.engine.input import Beat, Claim, Sent, WorkerLeft, WorkerLost
from errands.engine.liveness import STRIKES
from errands.model.call import (
    KEPT,
    LEASE_LOST,
    RUN_IS_OVER,
    Again,
    Leased,
    Parked,
    ProgressMade,
    Released,
    Report,
    Resumed,
    RunFailed,
    RunReturned,
    StepReturned,
    StepTaken,
)
from errands.model.function import RetryPolicy
from errands.model.ids import RunId
from errands.model.item import Item, Place, Urgency
from errands.model.job import NewJob
from errands.model.run import RunStatus
from errands.model.step import Step, StepKind, StepStatus
from errands.model.worker import Worker, WorkerState
from tests.engine.batch import ME, NOW, OTHER, REPORT, WELCOME, Batch

RUN = RunId(10)
STEP = Step(RUN, "a", StepKind.RUN, StepStatus.COMPLETED, 0, output=b"1")
Reporter = Callable[[int], Report]
REPORTS: list[Reporter] = [
    lambda fence: StepReturned(RUN, fence, STEP),
    lambda fence: RunReturned(RUN, fence, b"1"),
    lambda fence: RunFailed(RUN, fence, b"{}", Again(RetryPolicy(), 0, 0.0), 0),
    lambda fence: Parked(RUN, fence, 0),
    lambda fence: StepTaken(RUN, fence, "a", 0),
    lambda fence: Released(RUN, fence, 0, "why"),
]


@pytest.mark.parametrize("report", REPORTS)
@pytest.mark.parametrize("fence", [2, 4])
def test_a_report_under_another_fence_changes_nothing(report: Reporter, fence: int) -> None:
    batch = Batch()
    item = batch.item(fence=3)
    decision = batch.decide(report(fence))
    assert (decision.answer, decision.transitions) == (LEASE_LOST, ())
    assert batch.item_now() is item


@pytest.mark.parametrize("report", REPORTS)
@pytest.mark.parametrize("place", [Place.READY, Place.PARKED])
def test_a_report_of_a_lease_that_was_given_back_is_refused(report: Reporter, place: Place) -> None:
    batch = Batch()
    batch.item(place=place)
    assert batch.decide(report(3)).answer is LEASE_LOST


@pytest.mark.parametrize("report", REPORTS)
def test_a_report_of_a_run_that_is_over_is_refused(report: Reporter) -> None:
    assert Batch().decide(report(3)).answer is RUN_IS_OVER


def _ready(batch: Batch, run: int, function: int, crashes: int) -> Item:
    return batch.item(
        run=RunId(run),
        function=function,
        place=Place.READY,
        crashes=crashes,
        position=run,
        started_at=None,
    )


def claimable(batch: Batch, *runs: tuple[int, int, int]) -> None:
    """(run, function, crashes) as loaded, all ready."""
    batch.state.claimable = [
        _ready(batch, run, function, crashes) for run, function, crashes in runs
    ]


def taken(batch: Batch) -> list[int]:
    return [
        run for run, item in batch.state.items.now.items() if item and item.place == Place.RUNNING
    ]


def test_a_claim_takes_no_more_than_there_is_room_for() -> None:
    batch = Batch(WELCOME, REPORT, room=2)
    claimable(batch, (1, 2, 0), (2, 2, 0), (3, 2, 0))
    assert batch.decide(Claim(100)).answer is True
    assert taken(batch) == [1, 2]
    assert batch.state.room == 0


def test_a_claim_goes_round_the_lanes() -> None:
    batch = Batch(WELCOME, REPORT, room=3)
    claimable(batch, (1, 2, 0), (2, 2, 0), (3, 2, 0), (4, 1, 0))
    batch.decide(Claim(100))
    assert sorted(taken(batch)) == [1, 2, 4]


def test_what_has_begun_goes_before_what_starts() -> None:
    batch = Batch(REPORT, room=1)
    claimable(batch, (1, 2, 0))
    begun = batch.item(run=RunId(5), place=Place.READY, position=5, started_at=NOW - 1)
    batch.state.claimable = [*batch.state.claimable, begun]
    batch.decide(Claim(100))
    assert taken(batch) == [5]


def test_suspects_are_taken_one_at_a_time() -> None:
    batch = Batch(REPORT, room=9)
    claimable(batch, (1, 2, 2), (2, 2, 2), (3, 2, 0))
    batch.decide(Claim(100))
    assert sorted(taken(batch)) == [1, 3]


def test_a_suspect_has_a_place_however_many_others_are_ready() -> None:
    batch = Batch(REPORT, room=1)
    claimable(batch, (1, 2, 0), (2, 2, 2))
    batch.decide(Claim(100))
    assert taken(batch) == [2]


def test_while_a_suspect_executes_here_no_other_is_taken() -> None:
    batch = Batch(REPORT, room=9)
    batch.state.here.suspects = 1
    claimable(batch, (1, 2, 0), (2, 2, 2))
    batch.decide(Claim(100))
    assert taken(batch) == [1]


def test_of_several_lanes_the_suspect_that_has_waited_longest_is_taken() -> None:
    batch = Batch(WELCOME, REPORT, room=1)
    claimable(batch, (8, 1, 2), (7, 2, 2))
    batch.decide(Claim(100))
    assert taken(batch) == [7]


def test_a_new_run_does_not_take_the_place_of_a_suspect() -> None:
    batch = Batch(REPORT, room=1)
    batch.state.busy_lanes[REPORT.id] = Urgency.SUSPECT
    (run,) = batch.decide(Sent((NewJob("shop", "report", b"{}"),))).answer.ids
    assert batch.item_now(run).place == Place.READY


def test_what_an_earlier_input_has_ended_is_not_claimed() -> None:
    batch = Batch(REPORT, room=9)
    claimable(batch, (1, 2, 0))
    batch.state.items.now[RunId(1)] = None
    batch.decide(Claim(100))
    assert taken(batch) == []


def test_a_parked_run_resumes_under_a_new_fence() -> None:
    batch = Batch()
    batch.item(place=Place.PARKED)
    assert batch.decide(Resumed(RUN, 3)).answer == Leased(4)
    assert batch.item_now().worker == ME


def test_a_run_that_somebody_else_has_taken_does_not_resume() -> None:
    batch = Batch()
    batch.item(place=Place.PARKED, fence=4)
    assert batch.decide(Resumed(RUN, 3)).answer is LEASE_LOST


def test_a_process_that_is_taken_for_dead_does_not_resume() -> None:
    batch = Batch()
    batch.item(place=Place.PARKED)
    batch.state.is_alive = False
    assert batch.decide(Resumed(RUN, 3)).answer is LEASE_LOST


def lost(batch: Batch, *held: Item, beat_at: int = NOW - 60_000) -> None:
    batch.state.workers.now[OTHER] = Worker(
        OTHER, 2, 1, "here", "shop", WorkerState.ALIVE, NOW - 99_999, beat_at
    )
    batch.state.held[OTHER] = list(held)


def test_a_dead_worker_s_runs_are_ready_again_and_their_crash_is_counted() -> None:
    batch = Batch()
    lost(batch, batch.item(worker=OTHER, attempt=1))
    assert batch.decide(WorkerLost(OTHER, NOW - 60_000, "why")).answer is KEPT
    item = batch.item_now()
    assert (item.place, item.worker, item.crashes, item.attempt) == (Place.READY, None, 1, 1)


def test_a_worker_that_has_beaten_since_is_not_lost() -> None:
    batch = Batch()
    lost(batch, batch.item(worker=OTHER), beat_at=NOW)
    batch.decide(WorkerLost(OTHER, NOW - 60_000, "why"))
    assert batch.item_now().worker == OTHER


def test_the_third_crash_in_a_row_ends_the_run() -> None:
    batch = Batch()
    lost(batch, batch.item(worker=OTHER, crashes=STRIKES - 1))
    batch.decide(WorkerLost(OTHER, NOW - 60_000, "why"))
    (done,) = batch.state.done
    assert done.status == RunStatus.FAILED
    assert b'"Crashed"' in done.output


def test_who_dies_beside_a_suspect_becomes_one_at_most() -> None:
    batch = Batch()
    held = [
        batch.item(run=RunId(n), worker=OTHER, crashes=crashes)
        for n, crashes in enumerate((0, 1, 2), 1)
    ]
    lost(batch, *held)
    batch.decide(WorkerLost(OTHER, NOW - 60_000, "why"))
    assert [batch.item_now(n).crashes for n in (1, 2)] == [1, 2]
    assert [done.run for done in batch.state.done] == [3]


def test_a_step_that_is_kept_clears_a_run_of_suspicion() -> None:
    batch = Batch()
    batch.item(crashes=2)
    batch.decide(StepReturned(RUN, 3, STEP))
    assert batch.item_now().crashes == 0


def test_a_dead_worker_is_told_so_when_it_beats() -> None:
    batch = Batch()
    lost(batch)
    batch.decide(WorkerLost(OTHER, NOW - 60_000, "why"))
    assert batch.decide(Beat(OTHER)).answer is not KEPT


def test_a_worker_that_leaves_gives_back_what_it_held() -> None:
    batch = Batch()
    lost(batch, batch.item(worker=OTHER))
    batch.decide(WorkerLeft(OTHER))
    assert (batch.item_now().place, batch.item_now().crashes) == (Place.READY, 0)


@pytest.mark.parametrize(("fence", "is_kept"), [(3, True), (2, False)])
def test_progress_of_an_earlier_lease_is_refused(fence: int, is_kept: bool) -> None:
    batch = Batch()
    batch.item(fence=3)
    batch.decide(ProgressMade(RUN, fence, 50.0, "half"))
    assert (RUN in batch.state.progress) is is_kept
