"""Several processes on one file share the work, wake one another, and read each other's results."""

import statistics
import threading

from errands.model.run import RunStatus
from tests.processes import ledger, trail
from tests.processes.children import Office, wait_until, works


def test_two_workers_share_the_runs_of_one_file(office: Office) -> None:
    workers = [works(office.worker(concurrency=5)) for _ in range(2)]

    sender = office.script("sync(app.enqueue_many(file.bind(n) for n in range(200)))")

    assert sender.wait() == 0, "".join(sender.lines)
    wait_until(lambda: not ledger.unfinished(office.path), "all runs have ended")
    pids = {line.pid for line in trail.read(office.trail, "step")}
    assert pids == {worker.pid for worker in workers}


def test_a_job_sent_here_runs_there_and_its_result_comes_back(office: Office) -> None:
    works(office.worker())

    sender = office.script("""
for _ in range(100):
    sent_at = time.time()
    waited = sync(sync(started.enqueue(sent_at)).result(timeout="20s"))
    trail.leave("heard", waited * 1000, (time.time() - sent_at) * 1000)
    time.sleep(0.002)
""")

    assert sender.wait() == 0, "".join(sender.lines)
    heard = [line.words for line in trail.read(office.trail, "heard")]
    assert len(heard) == 100
    for at, what in ((1, "until it started"), (2, "until its result was back")):
        print(f"{statistics.median(float(words[at]) for words in heard):.1f} ms {what} (median)")


def test_an_event_from_a_third_process_wakes_a_run(office: Office) -> None:
    works(office.worker())
    waiter = office.script(
        'trail.leave("got", sync(sync(approval.enqueue(7)).result(timeout="30s")))'
    )
    wait_until(lambda: trail.read(office.trail, "waits"), "the run waits")
    wait_until(lambda: ledger.count(office.path, "wait") == 1, "its wait is registered")

    sender = office.script("sync(app.send(Approved(n=8))); sync(app.send(Approved(n=7)))")

    assert sender.wait() == 0, "".join(sender.lines)
    assert waiter.wait() == 0, "".join(waiter.lines)
    assert [line.words for line in trail.read(office.trail, "got")] == [("got", "7")]


def test_a_run_invokes_others_that_execute_in_other_processes(office: Office) -> None:
    workers = [works(office.worker(concurrency=2)) for _ in range(2)]

    sender = office.script(
        "trail.leave('sum', sync(sync(whole.enqueue(60)).result(timeout='30s')))"
    )

    assert sender.wait() == 0, "".join(sender.lines)
    squares = trail.read(office.trail, "square")
    assert [line.words[1] for line in trail.read(office.trail, "sum")] == [
        str(sum(n * n for n in range(60)))
    ]
    assert {line.pid for line in squares} == {worker.pid for worker in workers}


def test_a_cancel_from_another_process_reaches_the_executing_coroutine(office: Office) -> None:
    works(office.worker())
    first = office.script("print('job', sync(forever.enqueue('f')).id, flush=True)")
    first.wait_said("job ")
    job_id = first.lines[-1].split()[1]
    wait_until(lambda: trail.read(office.trail, "forever"), "it executes")

    second = office.script("sync(app.jobs.cancel(sys.argv[1], reason='enough'))", job_id)

    assert second.wait() == 0, "".join(second.lines)
    wait_until(lambda: trail.read(office.trail, "cancelled"), "its coroutine was cancelled")
    assert [row.status for row in ledger.runs(office.path)] == [RunStatus.CANCELLED]


def test_a_send_that_was_accepted_runs_though_its_sender_is_killed(office: Office) -> None:
    sender = office.script("""
for n in range(1000):
    sync(app.send(Ordered(n=n)))
    trail.leave("sent", n)
""")
    wait_until(lambda: len(trail.read(office.trail, "sent")) >= 20, "some were accepted")
    sender.kill()

    works(office.worker())

    accepted = {int(line.words[1]) for line in trail.read(office.trail, "sent")}
    wait_until(lambda: not ledger.unfinished(office.path), "all runs have ended")
    ended = [row.n for row in ledger.runs(office.path) if row.status == RunStatus.COMPLETED]
    assert len(ended) == len(set(ended))
    # The one that was under way may have been accepted as well.
    assert accepted <= set(ended) <= accepted | {len(accepted)}


def test_many_threads_of_a_plain_process_send_at_once(office: Office) -> None:
    works(office.worker())

    sender = office.script("""
def send(thread):
    for n in range(25):
        job = sync(echo.enqueue(f"{thread}-{n}"))
        assert sync(job.result(timeout="20s")) == f"{thread}-{n}"
        trail.leave("back", thread, n)

threads = [threading.Thread(target=send, args=(n,)) for n in range(8)]
for thread in threads: thread.start()
for thread in threads: thread.join()
""")

    assert sender.wait() == 0, "".join(sender.lines)
    assert len(trail.read(office.trail, "back")) == 8 * 25
    assert len(ledger.runs(office.path)) == 8 * 25


def test_values_near_the_limit_go_through_whole(office: Office) -> None:
    works(office.worker())

    sender = office.script("""
text = "x" * (250 * 1024)
jobs = [sync(echo.enqueue(text)) for _ in range(20)]
assert all(sync(job.result(timeout="20s")) == text for job in jobs)
""")

    assert sender.wait() == 0, "".join(sender.lines)


def test_connections_of_ones_own_to_another_file_disturb_nothing(office: Office) -> None:
    works(office.worker())

    sender = office.script("""
import sqlite3
path = os.path.dirname(os.environ["ERRANDS_TRAIL"]) + "/own.db"
one, two = (sqlite3.connect(path, isolation_level=None) for _ in range(2))
one.execute("CREATE TABLE t(a)")
for n in range(50):
    one.execute("BEGIN IMMEDIATE")
    one.execute("INSERT INTO t VALUES (?)", (n,))
    job = sync(echo.enqueue(str(n)))
    one.execute("COMMIT")
    assert two.execute("SELECT count(*) FROM t").fetchone() == (n + 1,)
    assert sync(job.result(timeout="20s")) == str(n)
one.close()
two.close()
""")

    assert sender.wait() == 0, "".join(sender.lines)
    assert ledger.is_sound(office.path)


def test_work_goes_on_when_no_hint_arrives(office: Office) -> None:
    works(office.worker())
    folder = office.path.with_name(office.path.name + "-wake")
    for name in folder.iterdir():
        name.unlink()

    sender = office.script("assert sync(sync(echo.enqueue('a')).result(timeout='20s')) == 'a'")

    assert sender.wait() == 0, "".join(sender.lines)


def test_the_store_is_sound_after_processes_came_and_went_at_once(office: Office) -> None:
    def come_and_go() -> None:
        for n in range(3):
            child = office.script(f"sync(app.send(Ordered(n={n}))); app.backend.close()")
            assert child.wait() == 0, "".join(child.lines)

    threads = [threading.Thread(target=come_and_go) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(ledger.runs(office.path)) == 12
    assert ledger.is_sound(office.path)
