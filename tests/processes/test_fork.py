"""A process that forks after it has connected, as servers with preloading do."""

from tests.processes import ledger, trail
from tests.processes.children import Office, works

FORK = """
def send(n):
    assert sync(sync(echo.enqueue(str(n))).result(timeout="20s")) == str(n)
    trail.leave("sent", n, os.getpid())

def fork(then):
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            then()
            code = 0
        finally:
            os._exit(code)
    return pid

def end(pid):
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0

send(0)
"""


def test_parent_and_child_send_at_once_after_a_fork(office: Office) -> None:
    works(office.worker())

    sender = office.script(
        FORK + "children = [fork(lambda: [send(n) for n in range(30)])"
        " for _ in range(2)]\n[send(n) for n in range(30)]\nfor pid in children: end(pid)"
    )

    assert sender.wait() == 0, "".join(sender.lines)
    sent = trail.read(office.trail, "sent")
    assert len(sent) == 1 + 3 * 30
    assert len({line.words[2] for line in sent}) == 3
    assert ledger.is_sound(office.path)


def test_a_forked_child_is_a_worker_of_its_own_to_the_store(office: Office) -> None:
    sender = office.script(
        FORK.replace("send(0)", "sync(app.send(Ordered(n=0)))")
        + "end(fork(lambda: sync(app.send(Ordered(n=1)))))\nsync(app.send(Ordered(n=2)))"
    )

    assert sender.wait() == 0, "".join(sender.lines)
    with ledger.opened(office.path) as db:
        nodes = [node for (node,) in db.execute("SELECT node FROM worker")]
    assert len(nodes) == len(set(nodes)) == 2
    assert len(ledger.runs(office.path)) == 3


def test_the_parents_proof_of_life_survives_its_child(office: Office) -> None:
    """Closing any descriptor of a lock file drops a process's locks; a child has none to drop."""
    sender = office.script(
        FORK.replace("send(0)", "sync(app.send(Ordered(n=0)))")
        + """
node = app.backend.membership.node
end(fork(lambda: os.closerange(3, 200)))

def look():
    from errands.store.open import open_store
    assert not open_store(os.environ["ERRANDS_URL"]).is_node_dead(node)

end(fork(look))
"""
    )

    assert sender.wait() == 0, "".join(sender.lines)


def test_a_fork_in_the_midst_of_other_threads_sends_disturbs_none_of_them(office: Office) -> None:
    works(office.worker())

    sender = office.script(
        FORK
        + """
threads = [threading.Thread(target=lambda: [send(n) for n in range(20)]) for _ in range(3)]
for thread in threads: thread.start()
for n in range(5): end(fork(lambda: send(n)))
for thread in threads: thread.join()
"""
    )

    assert sender.wait() == 0, "".join(sender.lines)
    assert len(trail.read(office.trail, "sent")) == 1 + 3 * 20 + 5
    assert ledger.is_sound(office.path)


def test_a_worker_that_forks_goes_on_hearing_of_what_its_child_sends(office: Office) -> None:
    """Its connections are new ones after the fork, and count the versions of the file anew."""
    worker = office.script(
        """
import asyncio, threading
from pathlib import Path

async def main():
    async with app.worker():
        assert await (await echo.enqueue("before")).result(timeout="20s") == "before"
        pid = os.fork()
        if pid == 0:
            # In a thread: the child has no use for the loop that it was forked from.
            def send():
                sync(echo.enqueue("from the child"))
            thread = threading.Thread(target=send)
            thread.start()
            thread.join()
            time.sleep(60)
            os._exit(0)
        try:
            async with asyncio.timeout(20):
                while not heard():
                    await asyncio.sleep(0.01)
        finally:
            os.kill(pid, 9)
            os.waitpid(pid, 0)

def heard():
    from tests.processes import ledger
    return len(ledger.runs(PATH)) == 2 and not ledger.unfinished(PATH)

asyncio.run(main())
""".replace("PATH", f"Path({str(office.path)!r})")
    )

    assert worker.wait() == 0, "".join(worker.lines)
