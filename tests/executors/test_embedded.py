"""A worker that starts, stops and is waited for, in the test's own loop and with its thread."""

import asyncio
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from errands import App
from errands.embedded import Embedded
from errands.engine.input import Sent
from errands.executors.committer import Committer, Effects
from errands.executors.inbox import Inbox
from errands.model.errors import InternalError, Unavailable
from errands.model.job import NewJob
from errands.settings import Settings
from errands.store.cycle import Entry
from errands.store.open import open_store
from tests.sdk.rig import Rig
from tests.store.backdoor import full_disk

app = App("shop")
JOB = NewJob("shop", "hello", b"{}", delay_ms=None)
LATER = NewJob("shop", "hello", b"{}", delay_ms=3_600_000)


@app.job()
async def hello() -> str:
    return "hello"


class Late(Rig):
    """What was committed is told only after a few turns of the loop."""

    def deliver(self, committer: Committer, entries: list[Entry], effects: Effects | None) -> None:
        self._later(10, entries, effects)

    def _later(self, turns: int, entries: list[Entry], effects: Effects | None) -> None:
        if turns:
            self.loop.call_soon(self._later, turns - 1, entries, effects)
        else:
            super().deliver(self.committer, entries, effects)


class Counted(Inbox):
    looks = 0

    def look(self) -> bool:
        self.looks += 1
        return super().look()


def embedded(tmp_path: Path) -> Embedded:
    url = f"sqlite:///{tmp_path / 'errands.db'}"
    return Embedded(lambda: open_store(url, is_durable=False), app, Settings())


# -- stopping --------------------------------------------------------------------------------------


async def test_a_lease_that_was_given_while_it_stops_is_executed_or_given_back(
    tmp_path: Path,
) -> None:
    rig = Late(app, tmp_path, "straight")
    async with rig.work():
        dispatcher = rig.dispatcher
        assert dispatcher is not None
        sent = rig.committer.submit(Sent((JOB,)))
        rig.committer.step()
        assert rig.committer.leases

        await dispatcher.stop(5)

        assert rig.committer.leases == {}
        await sent


async def test_a_lease_that_nobody_executes_is_given_back_when_it_stops(tmp_path: Path) -> None:
    rig = Rig(app, tmp_path, "straight")
    async with rig.work():
        dispatcher = rig.dispatcher
        assert dispatcher is not None
        # As after an error: it is leased, and no session has begun.
        rig.dispatcher = None
        run = await rig.start(JOB)
        rig.dispatcher = dispatcher
        assert run in rig.committer.leases

        await dispatcher.stop(5)

        assert rig.committer.leases == {}


async def test_after_it_has_stopped_others_see_that_it_only_sends(tmp_path: Path) -> None:
    backend = embedded(tmp_path)
    async with backend.worker(7):
        (working,) = backend.store.reader.workers()
    (sending,) = backend.store.reader.workers()

    assert (working.concurrency, sending.concurrency) == (7, 0)
    backend.close()


# -- joining ---------------------------------------------------------------------------------------


async def test_who_could_not_join_holds_no_number(tmp_path: Path) -> None:
    rig = Rig(app, tmp_path, "straight")
    async with rig.work():
        with full_disk(), pytest.raises(Unavailable):
            rig.rejoin()

        assert all(rig.store.is_node_dead(node) for node in range(1_024))


async def test_functions_that_could_not_be_registered_are_before_the_next_send(
    tmp_path: Path,
) -> None:
    url = f"sqlite:///{tmp_path / 'errands.db'}"
    rig = Rig(app, tmp_path, "straight")
    open_store(url).close()
    rig.make_committer = _closed_door(rig)  # type: ignore[method-assign]
    with pytest.raises(Unavailable):
        await rig.connect()

    await rig.connect()

    assert rig.is_connected
    assert list(rig.store.reader.config().by_slug) == [("shop", "hello")]
    rig.store.close()


def _closed_door(rig: Rig) -> Any:
    """Its first batch finds a full disk."""
    make = rig.make_committer

    def made(here: Any, new_id: Any) -> Committer:
        committer = make(here, new_id)
        step = committer.step

        def first() -> bool:
            committer.step = step  # type: ignore[method-assign]
            with full_disk():
                return step()

        committer.step = first  # type: ignore[method-assign]
        return committer

    return made


# -- who waits -------------------------------------------------------------------------------------


async def test_who_stops_waiting_is_forgotten(tmp_path: Path) -> None:
    rig = Rig(app, tmp_path, "straight")
    async with rig.work():
        run = await rig.start(LATER)
        job = rig._public_id(run)
        waiting = asyncio.create_task(rig.outcome(job, None))
        await asyncio.sleep(0)
        assert rig.watchers.waiting() == [run]

        waiting.cancel()
        with suppress(asyncio.CancelledError):
            await waiting

        assert rig.watchers.waiting() == []


# -- looking ---------------------------------------------------------------------------------------


async def test_its_own_commits_do_not_make_it_look_into_the_inbox(tmp_path: Path) -> None:
    rig = Rig(app, tmp_path, "straight")
    async with rig.work():
        dispatcher = rig.dispatcher
        assert dispatcher is not None
        counted = dispatcher.inbox = Counted(rig.committer, rig.store.reader)
        dispatcher._look_if_changed()
        counted.looks = 0

        for _ in range(5):
            await rig.start(LATER)
            dispatcher._look_if_changed()

        assert counted.looks == 0


async def test_when_it_is_quiet_again_it_looks_once(tmp_path: Path) -> None:
    rig = Rig(app, tmp_path, "straight")
    async with rig.work():
        dispatcher = rig.dispatcher
        assert dispatcher is not None
        counted = dispatcher.inbox = Counted(rig.committer, rig.store.reader)
        await rig.start(LATER)
        dispatcher._look_if_changed()
        counted.looks = 0

        for _ in range(3):
            dispatcher._look_if_changed()

        assert counted.looks == 1


async def test_another_process_s_commit_makes_a_busy_one_look(tmp_path: Path) -> None:
    rig = Rig(app, tmp_path, "straight")
    async with rig.work():
        dispatcher = rig.dispatcher
        assert dispatcher is not None
        counted = dispatcher.inbox = Counted(rig.committer, rig.store.reader)
        await rig.start(LATER)
        dispatcher._look_if_changed()
        counted.looks = 0

        other = embedded(tmp_path)
        await other.connect()
        await other.send([LATER])
        await rig.start(LATER)
        dispatcher._look_if_changed()

        assert counted.looks == 1
        other.close()


# -- a bug of ours ---------------------------------------------------------------------------------


class Buggy(Embedded):
    """Meets a bug in its committer's thread when it is told to; `ended` is set then."""

    is_buggy = False

    def __init__(self, path: Path) -> None:
        url = f"sqlite:///{path / 'errands.db'}"
        super().__init__(lambda: open_store(url, is_durable=False), app, Settings())
        self.ended = asyncio.Event()

    def deliver(self, committer: Committer, entries: list[Entry], effects: Effects | None) -> None:
        if self.is_buggy and effects is not None:
            raise LookupError("a bug")
        super().deliver(committer, entries, effects)

    def broke(self) -> None:
        super().broke()
        self.ended.set()


async def test_a_worker_learns_that_its_committer_is_broken_and_can_leave(tmp_path: Path) -> None:
    backend = Buggy(tmp_path)
    async with asyncio.timeout(10), backend.worker(1):
        backend.is_buggy = True
        with pytest.raises(InternalError):
            await backend.send([JOB])
        await backend.ended.wait()
    backend.close()
