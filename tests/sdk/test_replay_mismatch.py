"""A run whose history does not fit the code any more fails, and says which step it is."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from errands import App, step
from errands.model.run import Failure, RunStatus
from errands.sdk import course
from tests.sdk.rig import Rig

Code = Callable[[], Awaitable[Any]]


async def say(what: str) -> str:
    return what


async def failure_of(path: Path, before: Code, after: Code) -> Failure:
    """Begin with the one code, and go on with the other once the run is parked."""
    rig = Rig(App("t"), path, "evicted")

    @rig.app.job
    async def changing() -> None:
        await before()

    async def changed() -> None:
        await after()

    async with rig.work():
        run = await rig.start_job(changing)
        await rig.until(lambda: rig.store.reader.run(run).is_parked)  # type: ignore[union-attr]
        rig.app.definitions["changing"].handler = changed
        done = await rig.end(run)
        assert done.status == RunStatus.FAILED, done.output
        return msgspec.json.decode(done.output, type=Failure)


async def old() -> None:
    await step.run("a", say, "a")
    await step.run("b", say, "b")
    await step.sleep("nap", "40ms")


async def test_another_step_in_the_place_of_a_remembered_one(tmp_path: Path) -> None:
    async def new() -> None:
        await step.run("other", say, "a")

    failure = await failure_of(tmp_path, old, new)

    assert failure.name == "HistoryMismatch"
    assert failure.attempts == 1
    assert "'a'" in failure.message
    assert "'other'" in failure.message


async def test_steps_that_have_changed_places(tmp_path: Path) -> None:
    async def new() -> None:
        await step.run("b", say, "b")
        await step.run("a", say, "a")

    failure = await failure_of(tmp_path, old, new)

    assert failure.name == "HistoryMismatch"
    assert "'a'" in failure.message
    assert "'b'" in failure.message


async def test_code_cannot_swallow_it(tmp_path: Path) -> None:
    told: list[str] = []

    async def new() -> None:
        try:
            await step.run("other", say, "a")
        except BaseException:
            told.append("handler")
        finally:
            told.append("finally")

    failure = await failure_of(tmp_path, old, new)

    assert failure.name == "HistoryMismatch"
    assert told == []


async def test_a_function_that_ends_before_it_has_asked_for_all(tmp_path: Path) -> None:
    async def new() -> None:
        await step.run("a", say, "a")

    failure = await failure_of(tmp_path, old, new)

    assert failure.name == "HistoryMismatch"
    assert "'b'" in failure.message


async def test_a_step_that_has_become_a_wait(tmp_path: Path) -> None:
    async def new() -> None:
        await step.sleep("a", "1s")

    failure = await failure_of(tmp_path, old, new)

    assert failure.name == "HistoryMismatch"
    assert "a (run)" in failure.message
    assert "a (sleep)" in failure.message


async def old_branches() -> None:
    await asyncio.gather(step.run("a", say, "a"), step.run("b", say, "b"))
    await step.sleep("nap", "40ms")


async def test_the_main_branch_stands_elsewhere_beside_branches(tmp_path: Path) -> None:
    async def new() -> None:
        await asyncio.gather(step.run("a", say, "a"), step.run("b", say, "b"))
        await step.run("instead", say, "x")

    failure = await failure_of(tmp_path, old_branches, new)

    assert failure.name == "HistoryMismatch"
    assert "'nap'" in failure.message
    assert "'instead'" in failure.message


async def test_a_branch_that_is_gone_while_another_stands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Whether a branch will still ask is not certain; it is given time.
    monkeypatch.setattr(course, "STUCK_SECONDS", 0.05)

    async def new() -> None:
        await asyncio.gather(step.run("a", say, "a"), step.run("c", say, "c"))

    failure = await failure_of(tmp_path, old_branches, new)

    assert failure.name == "HistoryMismatch"
    assert "'b'" in failure.message
    assert "'c'" in failure.message


async def test_more_code_after_what_is_remembered_is_no_mismatch(tmp_path: Path) -> None:
    rig = Rig(App("t"), tmp_path, "evicted")

    @rig.app.job
    async def growing() -> str:
        await old()
        return "old"

    async def grown() -> str:
        await old()
        return await step.run("more", say, "new")

    async with rig.work():
        run = await rig.start_job(growing)
        await rig.until(lambda: rig.store.reader.run(run).is_parked)  # type: ignore[union-attr]
        rig.app.definitions["growing"].handler = grown
        done = await rig.end(run)

    assert done.output == b'"new"'
