"""Who waits for another process's run hears of it, whatever went wrong before."""

import sqlite3
import threading
from pathlib import Path

import pytest

from errands.executors import listener
from errands.executors.listener import Listener
from errands.executors.watchers import Watchers
from errands.model.ids import RunId
from errands.store.sqlite.store import SqliteStore


class Faulty(SqliteStore):
    """Cannot be asked for its version, once."""

    faults = 1

    def version(self) -> int:
        if self.faults:
            self.faults -= 1
            raise sqlite3.OperationalError("disk I/O error")
        return super().version()


def test_it_goes_on_after_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listener, "REST_SECONDS", 0.0)
    store, watchers = Faulty(tmp_path / "errands.db"), Watchers()
    ticket = watchers.watch(RunId(1))
    hears = Listener(store, watchers, lambda _: ticket.settle(None))

    hears.attend()

    assert ticket.wait(10)
    hears.close()
    store.close()


def test_everybody_is_told_now_and_then_should_something_have_been_missed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listener, "EVERYBODY_SECONDS", 0.0)
    store, watchers = SqliteStore(tmp_path / "errands.db"), Watchers()
    told = threading.Semaphore(0)

    def tell(tickets: list) -> None:
        for _ in tickets:
            # It waits on.
            watchers.watch(RunId(1))
            told.release()

    hears = Listener(store, watchers, tell)
    hears.poll_seconds = 0.001
    watchers.watch(RunId(1))
    hears.attend()

    # The first time because it is new.
    assert told.acquire(timeout=10)
    assert told.acquire(timeout=10)
    hears.close()
    store.close()


def test_what_is_executed_here_is_not_looked_at(tmp_path: Path) -> None:
    store, watchers = SqliteStore(tmp_path / "errands.db"), Watchers()
    mine, other = watchers.watch(RunId(1)), watchers.watch(RunId(2))

    def tell(tickets: list) -> None:
        for ticket in tickets:
            ticket.settle(None)

    hears = Listener(store, watchers, tell, lambda: [RunId(1)])
    hears.attend()

    assert other.wait(10)
    assert not mine.is_done
    hears.close()
    store.close()
