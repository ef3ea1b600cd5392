"""A timer that cannot be decided costs the others nothing, and does not spin."""

import asyncio
import sqlite3
from pathlib import Path

import pytest

from errands.executors.committer import Committer
from errands.executors.timers import RETRY_MS, Timers
from errands.model.ids import RunId
from errands.store.interface import Store
from errands.testing.virtual import VirtualAlarms, VirtualClock
from tests.store.process import NOW, Process


class Told(Process):
    """Its answers reach their tickets."""

    def _deliver(self, committer: Committer, entries: list, effects: object) -> None:
        super()._deliver(committer, entries, effects)  # type: ignore[arg-type]
        for entry in entries:
            if entry.ticket is not None:
                entry.ticket.settle(entry.answer, entry.error)


class Ringing:
    def __init__(self, store: Store) -> None:
        self.clock = VirtualClock(NOW)
        self.process = Told(store, self.clock)  # type: ignore[arg-type]
        self.alarms = VirtualAlarms(self.clock)
        self.timers = Timers(self.process.committer, store.reader, self.clock, self.alarms)

    async def at(self, ms: int) -> None:
        """It is so late now; whatever that leads to has happened."""
        self.clock.move_to(NOW + ms)
        self.alarms.ring()
        for _ in range(20):
            await asyncio.sleep(0)
            self.process.drain()

    def left(self) -> int:
        return self.process.store.reader.counts()["timer"]


@pytest.fixture
def ringing(store: Store) -> Ringing:
    return Ringing(store)


def damage(tmp_path: Path, run: RunId, place: int) -> None:
    db = sqlite3.connect(tmp_path / "errands.db")
    db.execute("PRAGMA ignore_check_constraints = ON")
    db.execute("UPDATE item SET place = ? WHERE run = ?", (place, run))
    db.commit()
    db.close()


async def test_the_others_ring_all_the_same(ringing: Ringing, tmp_path: Path) -> None:
    (bad,) = ringing.process.enqueue(delay_ms=100)
    ringing.process.enqueue(delay_ms=150)
    damage(tmp_path, bad, 99)
    ringing.timers.look()

    await ringing.at(101)
    await ringing.at(151)

    assert ringing.left() == 1


async def test_it_rings_again_after_a_while(ringing: Ringing, tmp_path: Path) -> None:
    (bad,) = ringing.process.enqueue(delay_ms=100)
    damage(tmp_path, bad, 99)
    ringing.timers.look()
    await ringing.at(101)
    damage(tmp_path, bad, 4)

    await ringing.at(100 + RETRY_MS[0])
    assert ringing.left() == 1
    await ringing.at(101 + RETRY_MS[0])

    assert ringing.left() == 0


async def test_stopping_raises_nothing_and_waits_for_no_store(ringing: Ringing) -> None:
    ringing.process.enqueue(delay_ms=100)
    ringing.timers.look()
    ringing.clock.move_to(NOW + 101)
    ringing.alarms.ring()
    await asyncio.sleep(0)
    ringing.process.committer.close()

    await ringing.timers.stop()


async def test_when_timers_cannot_be_read_that_is_tried_again(
    ringing: Ringing, tmp_path: Path
) -> None:
    ringing.process.enqueue(delay_ms=100)
    ringing.timers.look()
    rename(tmp_path, "timer", "away")
    await ringing.at(101)
    rename(tmp_path, "away", "timer")

    await ringing.at(101 + RETRY_MS[0])

    assert ringing.left() == 0


def rename(tmp_path: Path, old: str, new: str) -> None:
    db = sqlite3.connect(tmp_path / "errands.db")
    db.execute(f"ALTER TABLE {old} RENAME TO {new}")
    db.close()
