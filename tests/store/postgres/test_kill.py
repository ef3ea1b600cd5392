"""Workers, a sender and the server itself are killed at random; nothing is lost or done twice."""

import os
import random
import signal
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from tests.processes import trail
from tests.processes.children import Child, Office, wait_until, works
from tests.processes.test_kill import SENDER
from tests.store.postgres.server import Server
from tests.store.stores import missing

RUNS = 200
"""Of each kind: by an event, and as a job."""
KILLS_LEAST = 10
UNFINISHED = "SELECT count(*) FROM errands.item"
RUNS_MADE = """
SELECT function.slug, coalesce(event.data, run.input), done.status, done.output
FROM errands.run JOIN errands.function ON function.id = run.function
LEFT JOIN errands.event ON event.id = run.event LEFT JOIN errands.done ON done.run = run.id
"""


class Hall(Office):
    """An office whose store is on a server of its own."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.server = Server(is_durable=True, settings=("deadlock_timeout=100ms",))
        self.database = self.server.new_database()
        self.environment["ERRANDS_URL"] = self.server.url(self.database)

    def ask(self, text: str) -> list[tuple[object, ...]]:
        with self.server.connect(self.database) as db:
            return db.execute(text.encode()).fetchall()

    def close(self) -> None:
        super().close()
        self.server.remove()


@pytest.fixture
def hall(tmp_path: Path) -> Iterator[Hall]:
    if (why := missing()) is not None:
        pytest.skip(why)
    hall = Hall(tmp_path)
    yield hall
    hall.close()


@pytest.mark.timeout(150)
@pytest.mark.parametrize("is_server_killed", [False, True], ids=["processes", "the server too"])
def test_nothing_is_lost_or_done_twice_whatever_is_killed(
    hall: Hall, is_server_killed: bool
) -> None:
    seed = int(os.environ.get("ERRANDS_SEED") or random.randrange(10**6))
    print(f"ERRANDS_SEED={seed}")

    kills = kill_while_they_work(hall, random.Random(seed), is_server_killed)
    wait_until(lambda: hall.ask(UNFINISHED) == [(0,)], "all runs have ended", 60)
    for child in hall.children:
        if child.process.poll() is None:
            assert child.terminate() == 0, "".join(child.lines)

    print(f"{kills} kills")
    check_runs(hall)
    check_steps(hall)
    assert hall.ask("SELECT count(*) FROM errands.inbox") == [(0,)]
    assert hall.ask("SELECT count(*) FROM errands.timer") == [(0,)]
    assert hall.ask("SELECT count(*) FROM errands.ready") == [(0,)]


def kill_while_they_work(hall: Hall, chance: random.Random, is_server_killed: bool) -> int:
    workers = [works(hall.worker()) for _ in range(2)]
    sender = hall.script(SENDER, RUNS)
    kills = 0
    while is_running(sender) or kills < KILLS_LEAST:
        time.sleep(chance.uniform(0.05, 0.6))
        if is_server_killed and kills % 4 == 2:
            hall.server.stop(signal.SIGQUIT)
            hall.server.start()
        elif kills % 4 == 3 and is_running(sender):
            sender.kill()
        else:
            victim = chance.randrange(2)
            workers[victim].kill()
            workers[victim] = works(hall.worker())
        kills += 1
        if sender.process.poll() not in (None, 0):
            # Killed, or told that nothing was accepted: it goes on from what it knows to be sent.
            sender = hall.script(SENDER, RUNS)
    return kills


def is_running(child: Child) -> bool:
    return child.process.poll() is None


def check_runs(hall: Hall) -> None:
    rows = hall.ask(RUNS_MADE)
    made = Counter((slug, given) for slug, given, _, _ in rows)
    assert len(made) == 2 * RUNS
    assert set(made.values()) == {1}
    assert [row for row in rows if row[2] != 3] == []


def check_steps(hall: Hall) -> None:
    """Each step has a result; what was executed twice was lost with its process the first time."""
    steps = hall.ask("SELECT count(*), count(DISTINCT (run, id)) FROM errands.step")
    assert steps == [(2 * RUNS * 4, 2 * RUNS * 4)]
    executed = Counter(line.words[1:4] for line in trail.read(hall.trail, "step"))
    assert len(executed) == 2 * RUNS * 4
    again = sum(executed.values()) - len(executed)
    print(f"{again} executions were lost with their process")


@pytest.mark.timeout(60)
def test_a_worker_that_stands_still_past_its_lease_can_write_nothing_any_more(hall: Hall) -> None:
    first = works(hall.worker(ERRANDS_LEASE="1s"))
    hall.script("sync(file.enqueue(1)); time.sleep(0.2)").wait()
    first.stop()
    second = works(hall.worker(ERRANDS_LEASE="1s"))

    wait_until(lambda: hall.ask(UNFINISHED) == [(0,)], "the second has taken over", 30)
    first.go_on()

    check = "SELECT count(*), count(DISTINCT (run, id)) FROM errands.step"
    assert hall.ask(check) == [(4, 4)]
    assert second.terminate() == 0
    assert first.terminate() == 0
    assert hall.ask("SELECT count(*) FROM errands.done") == [(1,)]


def test_who_cannot_connect_says_so(hall: Hall) -> None:
    hall.server.stop()
    child = hall.worker()

    assert child.wait() != 0
    assert "cannot be used as a store" in "".join(child.lines)
    hall.server.start()
    with pytest.raises(psycopg.errors.UndefinedTable):
        hall.ask(UNFINISHED)
