"""What goes wrong with one leased run costs the others nothing; no lease is kept for nothing."""

import sqlite3
from pathlib import Path
from typing import Any

import msgspec
import pytest

from errands.clock import Chance
from errands.executors.committer import Committer, Effects
from errands.executors.runner import Runner
from errands.model.call import Call, Journal
from errands.model.ids import RunId
from errands.model.item import Place
from errands.model.run import Failure
from errands.store.interface import Store
from errands.testing.virtual import VirtualClock
from tests.store.process import NOW, Process


class Session:
    """Executes nothing; see `model.call.Session`."""

    can_resume = can_be_dropped = False

    def __init__(self, call: Call, journal: Journal) -> None:
        self.run, self.fence, self.seq = call.run.id, call.item.fence, 0
        self._journal = journal

    def drop(self) -> None:
        self._journal.ended(self)  # type: ignore[arg-type]


class Caller:
    """See `model.call.Caller`. Cannot begin what is called `report`."""

    def begin(self, call: Call, journal: Journal) -> Any:
        if call.function.config.slug == "report":
            raise LookupError("no such function")
        return Session(call, journal)


class Running(Process):
    """A process with a runner, that acts at once on what was committed."""

    runner: Runner | None = None

    def _deliver(self, committer: Committer, entries: list, effects: Effects | None) -> None:
        super()._deliver(committer, entries, effects)
        if effects is not None and self.runner is not None:
            self.runner.acted(effects)


@pytest.fixture
def process(store: Store) -> Running:
    clock = VirtualClock(NOW)
    process = Running(store, clock, concurrency=10)  # type: ignore[arg-type]
    process.runner = Runner(process.committer, store.reader, Caller(), clock, Chance(1))
    return process


def sessions(process: Running) -> list[RunId]:
    assert process.runner is not None
    return list(process.runner.sessions)


def sweep(process: Running) -> None:
    assert process.runner is not None
    process.runner.give_back_lost()
    process.drain()


def place_of(store: Store, run: RunId) -> tuple[Place, int]:
    row = store.reader.run(run)
    assert row is not None
    return (Place.PARKED if row.is_parked else Place.RUNNING), row.attempt


def forget(tmp_path: Path, run: RunId) -> None:
    """The run's row cannot be read."""
    db = sqlite3.connect(tmp_path / "errands.db")
    db.execute("DELETE FROM run WHERE id = ?", (run,))
    db.commit()
    db.close()


def test_one_that_cannot_begin_does_not_take_the_others_along(process: Running) -> None:
    process.committer.serve(frozenset(), 0)
    process.enqueue(function="report")
    (other,) = process.enqueue(function="other")

    process.committer.serve(frozenset(process.store.reader.config().functions), 10)
    process.drain()

    assert sessions(process) == [other]


def test_one_that_cannot_begin_has_had_an_attempt(process: Running) -> None:
    (run,) = process.enqueue(function="report")

    assert place_of(process.store, run) == (Place.PARKED, 1)


def test_what_can_never_begin_fails_in_the_end(process: Running) -> None:
    policy = msgspec.json.encode({"count": 0})

    (run,) = process.enqueue(function="report", retries=policy)

    (done,) = process.store.reader.done([run])
    assert "no such function" in msgspec.json.decode(done.output, type=Failure).message


def test_one_that_cannot_be_read_does_not_take_the_others_along(
    process: Running, tmp_path: Path
) -> None:
    process.committer.serve(frozenset(), 0)
    bad, other = process.enqueue(2, function="other")
    forget(tmp_path, bad)

    process.committer.serve(frozenset(process.store.reader.config().functions), 10)
    process.drain()

    assert sessions(process) == [other]


def test_a_lease_without_a_session_is_given_back_at_the_second_sweep(
    process: Running, tmp_path: Path
) -> None:
    process.committer.serve(frozenset(), 0)
    (bad,) = process.enqueue(function="other")
    forget(tmp_path, bad)
    process.committer.serve(frozenset(process.store.reader.config().functions), 10)
    process.drain()
    process.committer.serve(frozenset(), 0)

    sweep(process)
    assert bad in process.committer.leases
    sweep(process)

    assert bad not in process.committer.leases


def test_a_lease_with_a_session_is_kept(process: Running) -> None:
    (run,) = process.enqueue(function="other")

    for _ in range(3):
        sweep(process)

    assert sessions(process) == [run]
    assert run in process.committer.leases
