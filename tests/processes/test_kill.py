"""Workers and a sender are killed at random points, again and again; nothing is lost or doubled."""

import os
import random
import time
from collections import Counter

import pytest

from errands.model.run import RunStatus
from tests.processes import ledger, trail
from tests.processes.children import Office, wait_until, works

RUNS = 1_000
"""Of each kind: by an event, and as a job."""
KILLS_LEAST = 20
LATE_MS = 5
"""Between the commit time that a row tells and the clock that a step reads."""

SENDER = """
from_n = len(trail.read(__import__("pathlib").Path(os.environ["ERRANDS_TRAIL"]), "sent")) * 20
for n in range(from_n, int(sys.argv[1]), 20):
    events = [Ordered(n=i).with_options(id=f"order-{i}") for i in range(n, n + 20)]
    sync(app.send(events))
    sync(app.enqueue_many(
        file.with_options(idempotency_key=f"file-{i}").bind(i) for i in range(n, n + 20)))
    trail.leave("sent", n)
    time.sleep(0.4)
"""


@pytest.mark.timeout(150)
def test_nothing_is_lost_or_done_twice_when_processes_are_killed(office: Office) -> None:
    seed = int(os.environ.get("ERRANDS_SEED") or random.randrange(10**6))
    print(f"ERRANDS_SEED={seed}")
    chance = random.Random(seed)

    kills = _kill_while_they_work(office, chance)
    wait_until(lambda: ledger.unfinished(office.path) == 0, "all runs have ended", 60)
    for child in office.children:
        if child.process.poll() is None:
            assert child.terminate() == 0, "".join(child.lines)

    print(f"{kills} kills")
    _check_runs(office)
    _check_steps(office)
    assert ledger.count(office.path, "item") == ledger.count(office.path, "inbox") == 0
    assert ledger.is_sound(office.path)


def _kill_while_they_work(office: Office, chance: random.Random) -> int:
    workers = [works(office.worker()) for _ in range(2)]
    sender = office.script(SENDER, RUNS)
    kills = 0
    while sender.process.poll() is None or kills < KILLS_LEAST:
        time.sleep(chance.uniform(0.02, 0.5))
        if kills % 5 == 4 and sender.process.poll() is None:
            sender.kill()
            sender = office.script(SENDER, RUNS)
        else:
            victim = chance.randrange(2)
            workers[victim].kill()
            workers[victim] = works(office.worker())
        kills += 1
    assert sender.process.returncode == 0, "".join(sender.lines)
    return kills


def _check_runs(office: Office) -> None:
    runs = ledger.runs(office.path)
    made = Counter((row.function, row.n) for row in runs)
    assert made == Counter(
        {(function, n): 1 for function in ("fulfil", "file") for n in range(RUNS)}
    )
    wrong = [row for row in runs if row.status != RunStatus.COMPLETED or row.output != row.n]
    assert wrong == []


def _check_steps(office: Office) -> None:
    kinds = {"fulfil": "event", "file": "job"}
    of = {row.id: (kinds[row.function], str(row.n)) for row in ledger.runs(office.path)}
    committed: dict[tuple[str, ...], int] = {
        (*of[run], id): at for (run, id), at in ledger.steps(office.path).items()
    }
    executed = [(line.words[1:4], line.at) for line in trail.read(office.trail, "step")]
    assert len(committed) == 2 * RUNS * 4
    assert {key for key, _ in executed} == set(committed)
    again = [(key, at) for key, at in executed if at > committed[key] + LATE_MS]
    assert again == [], "steps were executed after their results were committed"
    print(f"{len(executed) - len(committed)} executions were lost with their process")
