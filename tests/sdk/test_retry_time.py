"""When the time of the next attempt cannot be worked out, there is none, and the run ends."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from errands import App, InvalidConfig, Retries, RetryAfterError, StepError, step, sync
from errands.sdk.live import LiveSession
from tests.sdk.rig import Rig

WRONG: list[Any] = [60, None, "-5s", "soon", datetime(2026, 1, 1), timedelta(-1)]  # noqa: DTZ001


def broken_delay(attempt: int, error: BaseException) -> str:
    raise ZeroDivisionError("no delay")


class Late(RetryAfterError):
    """Made without what its base class keeps."""

    def __init__(self) -> None:
        Exception.__init__(self, "late")


@pytest.fixture
async def rig(tmp_path: Path) -> Rig:
    return Rig(App("t"), tmp_path, "straight")


@pytest.mark.parametrize("after", WRONG)
def test_a_time_that_is_none_is_refused_where_it_is_given(after: Any) -> None:
    with pytest.raises(InvalidConfig, match="RetryAfterError"):
        RetryAfterError("busy", after)


@pytest.mark.parametrize("after", ["10m", timedelta(0), datetime(2026, 1, 1, tzinfo=UTC)])
def test_a_time_that_is_one_is_kept(after: Any) -> None:
    assert RetryAfterError("busy", after).retry_after == after


@pytest.mark.parametrize("is_async", [True, False])
async def test_a_wrong_time_fails_the_run_at_once(rig: Rig, is_async: bool) -> None:
    after: Any = 60

    async def busy() -> None:
        raise RetryAfterError("busy", after)

    def plain() -> None:
        raise RetryAfterError("busy", after)

    job: Any = rig.app.job(retries=3)(busy if is_async else plain)
    async with rig.work():
        failure = await rig.failure(job)
        await rig.idle()

    assert (failure.name, failure.attempts) == ("InvalidConfig", 1)
    assert "60" in failure.message


@pytest.mark.parametrize("is_async", [True, False])
async def test_a_delay_function_that_fails_ends_the_run(rig: Rig, is_async: bool) -> None:
    async def fails() -> None:
        raise OSError("the disk")

    def plain() -> None:
        raise OSError("the disk")

    job: Any = rig.app.job(retries=Retries(2, delay=broken_delay))(fails if is_async else plain)
    async with rig.work():
        failure = await rig.failure(job)
        await rig.idle()

    assert (failure.name, failure.message, failure.attempts) == ("ZeroDivisionError", "no delay", 1)
    assert "the disk" in failure.stack


async def test_an_error_that_lacks_its_time_ends_the_run(rig: Rig) -> None:
    @rig.app.job(retries=2)
    async def late() -> None:
        raise Late

    async with rig.work():
        assert (await rig.failure(late)).name == "AttributeError"
        await rig.idle()


@pytest.mark.parametrize("is_async", [True, False])
async def test_a_delay_function_that_fails_makes_its_step_fail(rig: Rig, is_async: bool) -> None:
    def fails() -> None:
        raise OSError("the disk")

    def charge() -> str:
        try:
            sync(step.with_options(retries=Retries(2, delay=broken_delay)).run("charge", fails))
        except StepError as error:
            rig.saw((error.name, error.message))
        return sync(step.run("after", lambda: "after"))

    async def charge_async() -> str:
        try:
            await step.with_options(retries=Retries(2, delay=broken_delay)).run("charge", fails)
        except StepError as error:
            rig.saw((error.name, error.message))
        return await step.run("after", lambda: "after")

    job: Any = rig.app.job(retries=0)(charge_async if is_async else charge)
    async with rig.work():
        run = await rig.start_job(job)
        done = await rig.end(run)
        await rig.idle()
        steps = rig.steps(run)

    assert done.output == b'"after"'
    assert rig.trace == [("ZeroDivisionError", "no delay")]
    # Numbered without a gap: nothing was taken for a failure that was not reported.
    assert [steps[id].seq for id in ("charge", "after")] == [0, 1]


async def test_a_run_whose_end_cannot_be_told_ends_all_the_same(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(session: LiveSession) -> None:
        raise RuntimeError("a bug of errands")

    @rig.app.job(retries=3)
    async def fails() -> None:
        raise OSError

    @rig.app.job(retries=3)
    async def returns() -> None: ...

    monkeypatch.setattr(LiveSession, "_flush_notes", broken)
    async with rig.work():
        for job in (fails, returns):
            assert (await rig.failure(job)).code == "internal_error"
        await rig.idle()
