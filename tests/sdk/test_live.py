"""A session: cancelled, timed out, released, robbed of its lease; and what it says meanwhile."""

import asyncio
import logging
import threading
from pathlib import Path
from typing import Any

import pytest

from errands import App, Retries, StepError, current_run, progress, step, sync
from errands.engine.input import CancelAsked, WorkerLost
from errands.model.call import Resumed
from errands.model.run import RunStatus
from errands.sdk import logs
from tests.sdk.rig import Rig


async def say(what: str) -> str:
    return what


@pytest.fixture
async def rig(tmp_path: Path) -> Rig:
    return Rig(App("t"), tmp_path, "straight")


class Gate:
    """A step's function stands here until the test lets it go on."""

    def __init__(self) -> None:
        self.entered, self.open = asyncio.Event(), asyncio.Event()

    async def wait(self) -> str:
        self.entered.set()
        await self.open.wait()
        return "through"


# -- cancellation ----------------------------------------------------------------------------------


async def test_executing_code_gets_cancelled_error_and_its_cleanup_no_steps(rig: Rig) -> None:
    gate, told = Gate(), []

    @rig.app.job
    async def long() -> None:
        try:
            await step.run("gate", gate.wait)
        finally:
            told.append("cleanup")
            try:
                await step.run("late", say, "late")
            except asyncio.CancelledError as error:
                told.append(str(error))
                raise

    async with rig.work():
        run = await rig.start_job(long)
        await gate.entered.wait()
        await rig.committer.submit(CancelAsked(run, "by the test"))
        done = await rig.end(run)
        await rig.idle()

    assert done.status == RunStatus.CANCELLED
    assert told == ["cleanup", "by the test"]
    assert rig.kept == {}


async def test_a_parked_run_is_cancelled_without_a_word_to_its_code(rig: Rig) -> None:
    told: list[str] = []

    @rig.app.job
    async def sleeper() -> None:
        try:
            await step.sleep("nap", "1h")
        finally:
            told.append("finally")

    async with rig.work():
        run = await rig.start_job(sleeper)
        await rig.until(lambda: rig.store.reader.run(run).is_parked)  # type: ignore[union-attr]
        await rig.committer.submit(CancelAsked(run, "by the test"))
        done = await rig.end(run)

    assert done.status == RunStatus.CANCELLED
    assert told == []


async def test_the_thread_of_a_cancelled_run_is_abandoned(rig: Rig) -> None:
    entered, go_on, told = asyncio.Event(), threading.Event(), []
    loop = asyncio.get_running_loop()

    @rig.app.job
    def plain() -> None:
        loop.call_soon_threadsafe(entered.set)
        go_on.wait()
        try:
            sync(step.run("late", say, "late"))
        except BaseException as error:
            told.append(type(error).__name__)
            raise

    async with rig.work():
        run = await rig.start_job(plain)
        await entered.wait()
        await rig.committer.submit(CancelAsked(run, "by the test"))
        done = await rig.end(run)
        await rig.idle()
        go_on.set()

    assert done.status == RunStatus.CANCELLED
    assert told == ["Suspend"]
    assert rig.kept == {}


# -- the lease -------------------------------------------------------------------------------------


async def test_a_run_taken_over_elsewhere_ends_here_in_silence(rig: Rig) -> None:
    gate, told = Gate(), []
    threads = []

    @rig.app.job
    async def robbed() -> str:
        threads.append(1)
        try:
            return await step.run("gate", gate.wait)
        except BaseException as error:
            told.append(type(error).__name__)
            raise

    async with rig.work():
        run = await rig.start_job(robbed)
        await gate.entered.wait()
        me = rig.committer.here.worker
        beat_at = next(w.beat_at for w in rig.store.reader.workers() if w.id == me)
        await rig.committer.submit(WorkerLost(me, beat_at, "it is said"))
        gate.open.set()
        done = await rig.end(run)

    # Refused, dropped; and executed anew under another name.
    assert done.output == b'"through"'
    assert len(threads) == 2
    assert told == []


async def test_what_still_executes_is_released_when_the_worker_stops(rig: Rig) -> None:
    gate, told = Gate(), []

    @rig.app.job
    async def long() -> str:
        await step.run("first", say, "first")
        try:
            return await step.run("gate", gate.wait)
        finally:
            told.append("finally")

    async with rig.work():
        run = await rig.start_job(long)
        await gate.entered.wait()
        assert rig.dispatcher is not None
        await rig.dispatcher.stop(0)
        row = rig.store.reader.run(run)
        assert row is not None
        assert told == []
        gate.open.set()
        rig.begin_again()
        done = await rig.end(run)

    assert done.output == b'"through"'
    assert told == ["finally"]


async def test_code_that_goes_on_by_itself_takes_the_lease_again(rig: Rig) -> None:
    outside = asyncio.Event()
    reports: list[Any] = []

    @rig.app.job
    async def waits() -> str:
        async def own() -> str:
            await outside.wait()
            return await step.run("own", say, "own")

        nap = asyncio.create_task(step.sleep("nap", "1h"))
        found = await own()
        nap.cancel()
        return found

    async with rig.work():
        rig.heard = reports
        run = await rig.start_job(waits)
        await rig.until(lambda: rig.store.reader.run(run).is_parked)  # type: ignore[union-attr]
        outside.set()
        done = await rig.end(run)

    assert done.output == b'"own"'
    assert any(isinstance(report, Resumed) for report in reports)
    assert rig.executed == {}


async def test_branches_that_wake_together_all_go_on(rig: Rig) -> None:
    outside = asyncio.Event()

    @rig.app.job
    async def waits() -> list[str]:
        async def own(id: str) -> str:
            await outside.wait()
            return await step.run(id, say, id)

        nap = asyncio.create_task(step.sleep("nap", "1h"))
        one = asyncio.create_task(own("impatient"))
        found = list(await asyncio.gather(own("a"), own("b")))
        one.cancel()
        nap.cancel()
        return found

    async with rig.work():
        run = await rig.start_job(waits)
        await rig.until(lambda: rig.store.reader.run(run).is_parked)  # type: ignore[union-attr]
        outside.set()
        done = await rig.end(run)

    assert done.output == b'["a","b"]'


# -- steps -----------------------------------------------------------------------------------------


async def test_a_step_that_takes_too_long_is_a_failed_attempt(rig: Rig) -> None:
    told: list[str] = []

    async def slow() -> None:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            told.append("cancelled")
            raise

    @rig.app.job
    async def waits() -> str:
        quick = Retries(1, delay="1ms", jitter=False)
        try:
            await step.with_options(timeout="20ms", retries=quick).run("slow", slow)
        except StepError as error:
            return f"{error.failure.name}: {error.failure.message}"
        return ""

    async with rig.work():
        assert await rig.result(waits) == "TimeoutError: Step 'slow' took longer than 0.02 s"

    assert told == ["cancelled", "cancelled"]


async def test_a_thread_that_takes_too_long_is_left_alone(rig: Rig) -> None:
    go_on = threading.Event()

    def slow() -> None:
        go_on.wait()

    @rig.app.job
    async def waits() -> str:
        try:
            await step.with_options(timeout="20ms", retries=0).run("slow", slow)
        except StepError as error:
            return error.failure.name
        return ""

    async with rig.work():
        assert await rig.result(waits) == "TimeoutError"
        go_on.set()


async def test_a_harness_may_stand_in_for_a_step(rig: Rig) -> None:
    asked: list[tuple[str, int]] = []

    async def instead(session: Any, key: str, attempt: int, call: Any) -> Any:
        asked.append((key, attempt))
        return "fake" if key == "a" else await call()

    @rig.app.job
    async def both() -> list[str]:
        return [await step.run("a", say, "real"), await step.run("b", say, "real")]

    rig.execute_step = instead
    async with rig.work():
        assert await rig.result(both) == ["fake", "real"]

    assert asked == [("a", 0), ("b", 0)]


async def test_the_attempt_is_that_of_the_step(rig: Rig) -> None:
    seen: list[tuple[str | None, int]] = []

    async def flaky() -> None:
        run = current_run()
        seen.append((run.step_id, run.attempt))
        if run.attempt < 2:
            raise ConnectionError

    @rig.app.job
    async def tries() -> None:
        again = step.with_options(retries=Retries(3, delay="1ms", factor=1.0, jitter=False))
        await again.run("flaky", flaky)
        seen.append((current_run().step_id, current_run().attempt))

    async with rig.work():
        await rig.result(tries)

    assert seen == [("flaky", 0), ("flaky", 1), ("flaky", 2), (None, 0)]


# -- beside the steps ------------------------------------------------------------------------------


async def test_lines_and_progress_are_kept_before_the_end(rig: Rig) -> None:
    logger = logging.getLogger("test.live")
    late = threading.Event()
    handed: list[threading.Thread] = []

    def work() -> None:
        logger.warning("in a thread")
        progress.set(70, "in a thread")

    @rig.app.job
    async def talks() -> None:
        import contextvars

        logger.warning("in the run")
        await step.run("work", work)
        logger.warning("at the end")
        context = contextvars.copy_context()

        def afterwards() -> None:
            late.wait()
            context.run(logger.warning, "afterwards")
            context.run(progress.set, 10)

        thread = threading.Thread(target=afterwards)
        thread.start()
        handed.append(thread)

    logs.capture()
    try:
        async with rig.work():
            run = await rig.start_job(talks)
            await rig.end(run)
            lines = rig.store.reader.logs(run, 0, 10)
            row = rig.store.reader.run(run)
            late.set()
            handed[0].join()
    finally:
        logs.release()

    assert [(line.step, line.text) for line in lines] == [
        (None, "in the run"),
        ("work", "in a thread"),
        (None, "at the end"),
    ]
    assert row is not None
    assert (row.percent, row.note) == (70, "in a thread")


async def test_system_exit_ends_the_attempt_and_not_the_worker(rig: Rig) -> None:
    async def leaves() -> None:
        raise SystemExit(3)

    @rig.app.job(retries=0)
    async def run_leaves() -> None:
        raise SystemExit(4)

    @rig.app.job(retries=0)
    async def step_leaves() -> None:
        await step.with_options(retries=0).run("leaves", leaves)

    async with rig.work():
        assert (await rig.failure(run_leaves)).name == "SystemExit"
        failure = await rig.failure(step_leaves)

    assert (failure.name, failure.step) == ("SystemExit", "leaves")


async def test_a_loop_with_eager_tasks(rig: Rig) -> None:
    eager = getattr(asyncio, "eager_task_factory", None)
    if eager is None:
        pytest.skip("Python 3.12 and later")

    @rig.app.job
    async def both() -> list[str]:
        tasks = [asyncio.create_task(step.run(id, say, id)) for id in ("a", "b")]
        await step.sleep("nap", "5ms")
        return [await task for task in tasks]

    async with rig.work():
        rig.loop.set_task_factory(eager)
        try:
            assert await rig.result(both) == ["a", "b"]
        finally:
            rig.loop.set_task_factory(None)
