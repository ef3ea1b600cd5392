"""SIGTERM: what executes may finish, the rest is for others."""

from errands.model.run import Moment, RunStatus
from tests.processes import ledger, trail
from tests.processes.children import Office, wait_until, works


def test_what_executes_finishes_within_the_grace(office: Office) -> None:
    worker = works(office.worker())
    assert office.script("sync(slow.enqueue('it', 1.0))").wait() == 0
    wait_until(lambda: len(trail.read(office.trail, "lingers")) == 2, "the second step executes")

    code = worker.terminate()

    assert code == 0, "".join(worker.lines)
    assert [row.status for row in ledger.runs(office.path)] == [RunStatus.COMPLETED]


def test_what_does_not_finish_is_given_back_and_done_by_another(office: Office) -> None:
    first = works(office.worker(ERRANDS_GRACE="200ms"))
    assert office.script("sync(slow.enqueue('it', 6.0))").wait() == 0
    wait_until(lambda: len(trail.read(office.trail, "lingers")) == 2, "the second step executes")
    second = works(office.worker())

    code = first.terminate()

    assert code == 0, "".join(first.lines)
    wait_until(lambda: not ledger.unfinished(office.path), "the run has ended")
    assert [line.pid for line in trail.read(office.trail, "returns")] == [second.pid]
    executed = [line.words[1] for line in trail.read(office.trail, "lingers")]
    assert executed == ["it-first", "it-second", "it-second"]
    assert ledger.history(office.path, Moment.RELEASED) == 1
    assert ledger.history(office.path, Moment.CRASHED) == 0


def test_nothing_waits_for_a_worker_that_has_left(office: Office) -> None:
    worker = works(office.worker(concurrency=1))
    assert office.script("sync(app.enqueue_many(file.bind(n) for n in range(50)))").wait() == 0
    wait_until(lambda: trail.read(office.trail, "step"), "it has begun")

    assert worker.terminate() == 0

    works(office.worker())
    wait_until(lambda: not ledger.unfinished(office.path), "all runs have ended")
    executed = [line.words[1:4] for line in trail.read(office.trail, "step")]
    assert len(executed) == len(set(executed)) == 200
