"""A process that stands still past its lease (SIGSTOP) is replaced, and cannot write any more."""

from errands.model.run import Moment, RunStatus
from errands.store.sqlite.turnstile import MAIN, NEXT, Turnstile
from tests.processes import ledger, trail
from tests.processes.children import Child, Office, wait_until, works

LEASE = "1s"


def _stop_outside_a_transaction(office: Office, child: Child) -> None:
    # One that is stopped inside stops all writers: SQLite has no way around it.
    turnstile = Turnstile(office.path.with_name(office.path.name + "-lock"))
    while True:
        child.stop()
        if turnstile.pid_at(MAIN) is None and turnstile.pid_at(NEXT) is None:
            return
        child.go_on()


def _stopped_with_a_run(office: Office, seconds: float) -> Child:
    """A worker that is stopped while it executes the second step of `slow`."""
    stopped = works(office.worker(ERRANDS_LEASE=LEASE))
    sender = office.script(f"sync(slow.enqueue('it', {seconds}))")
    assert sender.wait() == 0, "".join(sender.lines)
    wait_until(lambda: len(trail.read(office.trail, "lingers")) == 2, "the second step executes")
    _stop_outside_a_transaction(office, stopped)
    return stopped


def test_a_stopped_worker_is_fenced_and_comes_back_as_a_new_one(office: Office) -> None:
    stopped = _stopped_with_a_run(office, 0.5)
    other = works(office.worker(ERRANDS_LEASE=LEASE))
    wait_until(lambda: not ledger.unfinished(office.path), "its run was finished elsewhere")
    before = ledger.runs(office.path), ledger.steps(office.path)

    stopped.go_on()
    other.stop()
    sender = office.script(
        "trail.leave('got', sync(sync(echo.enqueue('b')).result(timeout='20s')))"
    )

    assert sender.wait() == 0, "".join(sender.lines)  # only it can have executed this one
    runs, steps = before
    assert ledger.runs(office.path)[: len(runs)] == runs
    assert {key: at for key, at in ledger.steps(office.path).items() if key in steps} == steps
    other.go_on()


def test_what_a_stopped_worker_had_in_hand_is_refused_when_it_goes_on(office: Office) -> None:
    stopped = _stopped_with_a_run(office, 1.5)
    works(office.worker(ERRANDS_LEASE=LEASE))
    wait_until(lambda: ledger.history(office.path, Moment.CRASHED), "it is taken for dead")

    stopped.go_on()

    wait_until(lambda: not ledger.unfinished(office.path), "the run has ended")
    wait_until(lambda: len(trail.read(office.trail, "returns")) >= 1, "its code came to an end")
    lines = trail.read(office.trail)
    second = [line.pid for line in lines if line.words == ("lingers", "it-second")]
    assert len(second) == 2
    assert second[0] == stopped.pid
    # Its step ended, in vain: it did not go on to the return.
    assert [line.pid for line in lines if line.words[0] == "returns"] == [second[1]]
    assert [row.status for row in ledger.runs(office.path)] == [RunStatus.COMPLETED]


def test_a_stopped_worker_does_not_hold_up_others(office: Office) -> None:
    _stopped_with_a_run(office, 0.1)
    works(office.worker(ERRANDS_LEASE=LEASE))

    sender = office.script("""
for n in range(50):
    assert sync(sync(echo.enqueue(str(n))).result(timeout="20s")) == str(n)
""")

    assert sender.wait() == 0, "".join(sender.lines)


def test_a_sender_that_was_stopped_past_its_lease_sends_on(office: Office) -> None:
    works(office.worker(ERRANDS_LEASE=LEASE))
    sender = office.script("""
sync(app.send(Ordered(n=1)))
trail.leave("first")
while len(trail.read(__import__("pathlib").Path(os.environ["ERRANDS_TRAIL"]), "continue")) == 0:
    time.sleep(0.01)
assert sync(sync(echo.enqueue("later")).result(timeout="20s")) == "later"
""")
    wait_until(lambda: trail.read(office.trail, "first"), "it has sent")
    _stop_outside_a_transaction(office, sender)
    wait_until(lambda: _is_dead(office, sender), "it is taken for dead")

    sender.go_on()
    with office.trail.open("a") as file:
        file.write(f"0 {sender.pid} continue\n")

    assert sender.wait() == 0, "".join(sender.lines)


def _is_dead(office: Office, child: Child) -> bool:
    with ledger.opened(office.path) as db:
        text = "SELECT count(*) FROM worker WHERE pid = ? AND state = 3"
        return bool(db.execute(text, (child.pid,)).fetchone()[0])
