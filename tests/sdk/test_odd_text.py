"""Text that cannot be stored, is empty or far too long: refused as an id, cleaned as a remark."""

import logging
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from errands import App, EventRefused, InvalidConfig, progress, step
from errands.model.ids import public_id
from errands.model.text import storable
from errands.sdk import logs
from errands.sdk.event import new_event
from tests.sdk.rig import Rig


@pytest.fixture
async def rig(tmp_path: Path) -> Rig:
    return Rig(App("t"), tmp_path, "straight")


@pytest.mark.parametrize("id", ["", "a\ud800", "a\0b", "a\nb", "x" * 513, 7])
async def test_a_step_id_that_cannot_be_is_refused(rig: Rig, id: Any) -> None:
    @rig.app.job(retries=3)
    async def job() -> None:
        await step.run(id, lambda: 1)

    async with rig.work():
        failure = await rig.failure(job)

    assert (failure.code, failure.attempts) == ("invalid_config", 1)
    assert "step id" in failure.message


async def test_a_step_id_may_be_any_plain_text(rig: Rig) -> None:
    @rig.app.job
    async def job() -> int:
        ids = ("a b", "große Straße", "👩\u200d🚀", "non\u00a0breaking", "x" * 512)
        return sum([await step.run(id, lambda: 1) for id in ids])

    async with rig.work():
        assert await rig.result(job) == 5


@pytest.mark.parametrize("key", ["", "a\ud800", "a\0b", "x" * 257, 7])
def test_an_idempotency_key_that_cannot_be_is_refused(key: Any) -> None:
    @App("t").job
    async def job() -> None: ...

    with pytest.raises(InvalidConfig, match="idempotency_key"):
        job.with_options(idempotency_key=key)


@pytest.mark.parametrize(
    ("reason", "kept"),
    [("no \ud800 stock\0", "no \\ud800 stock\\x00"), ("x" * 3_000, "x" * 2_000)],
)
async def test_the_reason_of_a_cancellation_is_cleaned(rig: Rig, reason: str, kept: str) -> None:
    @rig.app.job
    async def sleeper() -> None:
        await step.sleep("nap", "1h")

    async with rig.work():
        run = await rig.start_job(sleeper)
        with rig.app.use_backend(rig):
            await rig.app.jobs.cancel(public_id(run, rig.key), reason=reason)
        await rig.end(run)
        view = await rig.job(public_id(run, rig.key))

    assert view.cancelled == kept


async def test_an_odd_line_is_kept_with_those_beside_it(rig: Rig) -> None:
    # By itself: what it says must not come into the report of this test, which could not be sent.
    logger = logging.Logger("test.text")
    logger.addHandler(logs.RunHandler())

    @rig.app.job
    async def talks() -> None:
        logger.warning("before")
        logger.warning("odd \ud800")
        logger.warning("after")

    async with rig.work():
        run = await rig.start_job(talks)
        await rig.end(run)
        lines = [line.text for line in rig.store.reader.logs(run, 0, 10)]

    assert lines == ["before", "odd \\ud800", "after"]


@pytest.mark.parametrize(
    ("message", "kept"), [("odd \ud800", "odd \\ud800"), ("x" * 2_000, "x" * 1_000)]
)
async def test_the_message_of_progress_is_cleaned(rig: Rig, message: str, kept: str) -> None:
    @rig.app.job
    async def works() -> None:
        progress.set(50, message)

    async with rig.work():
        run = await rig.start_job(works)
        await rig.end(run)
        row = rig.store.reader.run(run)

    assert row is not None
    assert (row.percent, row.note) == (50, kept)


def test_what_was_cleaned_is_not_longer_than_the_limit() -> None:
    assert storable("\ud800" * 10, 10) == "\\ud800\\ud8"


async def some() -> AsyncIterator[int]:
    yield 1


async def none() -> AsyncIterator[int]:
    for n in ():
        yield n


@pytest.mark.parametrize("items", [lambda: iter([1]), lambda: iter(()), some, none])
async def test_items_without_a_length_show_the_message(rig: Rig, items: Any) -> None:
    @rig.app.job
    async def reads() -> None:
        found: Any = progress.track(items(), message="reading")
        if isinstance(found, Iterator):
            list(found)
        else:
            async for _ in found:
                pass

    async with rig.work():
        run = await rig.start_job(reads)
        await rig.end(run)
        row = rig.store.reader.run(run)

    assert row is not None
    assert (row.percent, row.note) == (None, "reading")


def test_data_that_is_no_json_is_told_under_the_events_own_name() -> None:
    with pytest.raises(EventRefused, match="Event 'a/b': data cannot be stored as JSON"):
        new_event({"name": "a/b", "data": {"text": "\ud800"}}, {})
