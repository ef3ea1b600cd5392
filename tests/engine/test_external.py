"""External jobs: made, updated, ended by user code; given up when nobody updates them."""

import msgspec
import pytest
from msgspec.structs import replace

from errands.engine.input import CancelAsked, JobChanged, JobMade, Registered, Sent, TimerDue
from errands.engine.transition import RunFinished, TimerForgotten
from errands.model.call import KEPT, Made
from errands.model.errors import (
    FunctionNotFound,
    InvalidConfig,
    JobIsOver,
    JobNotFound,
    NotExternal,
)
from errands.model.function import (
    EXTERNAL,
    AppConfig,
    Function,
    FunctionConfig,
    FunctionKind,
)
from errands.model.ids import RunId
from errands.model.item import Place
from errands.model.job import KEY_SCOPE, NewJob
from errands.model.run import Done, Failure, Run, RunStatus
from errands.model.timer import Timer, TimerKind
from tests.engine.batch import NOW, REPORT, Batch

RESERVED = Function(
    EXTERNAL, "errands", FunctionConfig("external", "External job", FunctionKind.EXTERNAL)
)
KEEP_MS = 60_000


@pytest.fixture
def batch() -> Batch:
    return Batch(RESERVED, REPORT, room=9)


def make(batch: Batch, key: str | None = "mine") -> RunId:
    return batch.decide(JobMade(key, KEEP_MS)).answer.run


def change(batch: Batch, run: RunId, **fields: object) -> None:
    assert batch.decide(JobChanged("mine", run, **fields)).answer is KEPT  # type: ignore[arg-type]


def done(batch: Batch) -> Done:
    (found,) = batch.state.done
    return found


def test_a_new_job_is_parked_though_there_is_room(batch: Batch) -> None:
    run = make(batch)

    item = batch.item_now(run)
    assert (item.place, item.started_at, item.due) == (Place.PARKED, None, None)
    assert list(batch.state.timers.added) == [
        Timer(NOW + KEEP_MS + 1, run, TimerKind.FINISH_BY),
    ]


def test_a_key_means_one_job(batch: Batch) -> None:
    run = make(batch, "a")

    assert batch.decide(JobMade("a", 1)).answer == Made(run, is_new=False)
    assert batch.decide(JobMade("b", 1)).answer.run != run
    assert batch.decide(JobMade(None, 1)).answer.run != run


def test_a_job_is_pending_until_it_is_updated_to_processing(batch: Batch) -> None:
    run = make(batch)

    change(batch, run, percent=1.0)
    assert batch.item_now(run).started_at is None
    change(batch, run, status="processing")
    assert batch.item_now(run).started_at == NOW
    change(batch, run, percent=2.0)
    assert batch.item_now(run).started_at == NOW
    change(batch, run, status="pending")
    assert batch.item_now(run).started_at is None


def test_what_an_update_leaves_out_stays_as_it_was(batch: Batch) -> None:
    run = make(batch)

    change(batch, run, percent=10.0, note="reading")
    change(batch, run, percent=20.0)
    change(batch, run, status="processing")
    change(batch, run, note="writing")

    progress = batch.state.progress[run]
    assert (progress.percent, progress.note) == (20.0, "writing")


def test_an_update_puts_off_the_end(batch: Batch) -> None:
    run = make(batch)
    batch.state.now += 5_000

    change(batch, run, note="still there")

    put_off = Timer(NOW + 5_000 + KEEP_MS + 1, run, TimerKind.FINISH_BY)
    assert list(batch.state.timers.added) == [put_off]


def test_a_completed_job_has_its_result_and_is_kept_as_long_as_it_asked(batch: Batch) -> None:
    run = make(batch)

    change(batch, run, percent=100.0, status="completed", output=b'{"rows":3}')

    end = done(batch)
    assert (end.status, end.output) == (RunStatus.COMPLETED, b'{"rows":3}')
    assert end.keep_until == NOW + KEEP_MS + 1
    assert batch.state.dedup.get((KEY_SCOPE, "mine")) == (run, end.keep_until)
    assert batch.state.progress[run].percent == 100.0
    assert list(batch.state.timers.added) == []


def test_a_job_completed_without_a_result_gives_null(batch: Batch) -> None:
    change(batch, make(batch), status="completed")

    assert done(batch).output == b"null"


def test_a_cancelled_job_is_kept_as_long_as_it_asked_too(batch: Batch) -> None:
    run = make(batch)

    assert batch.decide(CancelAsked(run, "no use")).answer is KEPT

    end = done(batch)
    assert (end.status, end.keep_until) == (RunStatus.CANCELLED, NOW + KEEP_MS + 1)
    assert batch.state.dedup.get((KEY_SCOPE, "mine")) == (run, end.keep_until)


def test_a_key_may_be_used_again_once_its_job_is_no_longer_kept(batch: Batch) -> None:
    run = make(batch)
    change(batch, run, status="completed")

    batch.state.now = done(batch).keep_until - 1
    assert not batch.decide(JobMade("mine", 1)).answer.is_new
    batch.state.now += 1
    assert batch.decide(JobMade("mine", 1)).answer.is_new


def test_a_job_that_nobody_updates_fails_and_says_why(batch: Batch) -> None:
    run = make(batch)
    batch.state.now += KEEP_MS + 1
    (timer,) = batch.state.timers.added

    batch.decide(TimerDue(timer))

    end = done(batch)
    failure = msgspec.json.decode(end.output, type=Failure)
    assert (end.run, end.status, failure.code) == (run, RunStatus.FAILED, "not_updated")
    assert "1 min" in failure.message
    assert end.keep_until == batch.state.now + KEEP_MS + 1


def test_the_timer_of_before_the_last_update_means_nothing(batch: Batch) -> None:
    run = make(batch)
    (first,) = batch.state.timers.added
    batch.state.now += KEEP_MS + 1
    change(batch, run, note="just in time")

    decision = batch.decide(TimerDue(first))

    assert decision.transitions == (TimerForgotten(first),)
    assert batch.item_now(run).place == Place.PARKED


def test_a_job_that_is_over_cannot_be_changed(batch: Batch) -> None:
    run = make(batch)
    change(batch, run, status="failed", output=b'{"name":"boom","message":""}')

    with pytest.raises(JobIsOver, match="'mine' is over"):
        batch.decide(JobChanged("mine", run, percent=1.0))
    assert len(batch.state.done) == 1


def test_a_run_that_is_executed_cannot_be_changed_from_outside(batch: Batch) -> None:
    item = batch.item()
    batch.state.runs[item.run] = Run(item.run, REPORT.id)

    with pytest.raises(NotExternal, match="shop/report"):
        batch.decide(JobChanged("x", item.run, status="completed"))
    assert batch.item_now() == item


def test_a_job_that_is_not_there_cannot_be_changed(batch: Batch) -> None:
    with pytest.raises(JobNotFound):
        batch.decide(JobChanged("x", RunId(77), percent=1.0))


def test_the_reserved_function_cannot_be_called(batch: Batch) -> None:
    with pytest.raises(FunctionNotFound):
        batch.decide(Sent((NewJob("errands", "external", b"{}"),)))


def test_an_app_may_be_called_as_the_reserved_one_but_not_its_function(batch: Batch) -> None:
    mine = replace(REPORT.config, slug="mine")
    batch.decide(Registered(AppConfig("errands", (mine,)), is_complete=True))
    assert [function.config.slug for function in batch.state.functions] == ["mine"]

    taken = replace(REPORT.config, slug="external")
    with pytest.raises(InvalidConfig, match="external jobs"):
        batch.decide(Registered(AppConfig("errands", (taken,)), is_complete=False))


def test_a_job_ends_with_one_outcome_and_nothing_else(batch: Batch) -> None:
    run = make(batch, None)

    decision = batch.decide(JobChanged("x", run, status="completed"))

    assert [type(transition) for transition in decision.transitions] == [RunFinished]
