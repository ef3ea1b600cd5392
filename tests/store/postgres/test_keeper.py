"""Proof of life, and hints between processes: on a connection that may be lost, and comes back."""

import select
import subprocess
import sys
import time
from collections.abc import Callable

import pytest

from errands.engine.transition import EventAppended
from errands.model.event import Event
from errands.model.ids import EventId
from errands.store.interface import Ear, Store, StoreUnavailable, Topic
from tests.processes.children import wait_until
from tests.store.backdoor import back
from tests.store.batch import write
from tests.store.postgres.server import SHARED, shared_server
from tests.store.process import NOW, StillClock, join

JOINS = """
import sys
from errands.store.open import open_store
from tests.store.process import StillClock, join
store = open_store(sys.argv[1])
print(join(store, StillClock()).node, flush=True)
sys.stdin.read()
"""


def hears(ear: Ear, seconds: float = 10.0) -> bool:
    is_heard = bool(select.select([ear], [], [], seconds)[0])
    ear.drain()
    return is_heard


@pytest.fixture
def both(open_again: Callable[[], Store], clock: StillClock) -> tuple[Store, Store]:
    """Two processes that have joined."""
    stores = open_again(), open_again()
    for store in stores:
        join(store, clock)
    return stores


def test_a_hint_is_heard_by_others_of_that_topic_alone(both: tuple[Store, Store]) -> None:
    one, other = both
    ears = [store.listen(topic) for topic in Topic for store in (other, one)]
    assert all(ears)
    others_work, own_work, others_news, own_news = (ear for ear in ears if ear is not None)

    wait_until(lambda: one.ring(Topic.WORK) or hears(others_work, 0.1), "it is heard")

    assert not hears(others_news, 0.05)
    assert not hears(own_work, 0.0)
    assert not hears(own_news, 0.0)
    for ear in ears:
        assert ear is not None
        ear.close()


def test_who_has_lost_its_connection_hears_that_it_may_have_missed_something(
    both: tuple[Store, Store],
) -> None:
    ear = both[0].listen(Topic.NEWS)
    assert ear is not None
    shared_server().throw_out(SHARED)

    assert hears(ear)

    back(both[1])
    wait_until(lambda: both[1].ring(Topic.NEWS) or hears(ear, 0.1), "hints come again")
    ear.close()


def test_a_process_that_is_killed_is_dead_a_little_later(store: Store, url: str) -> None:
    child = subprocess.Popen(
        [sys.executable, "-c", JOINS, url],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert child.stdout is not None
    node = int(child.stdout.readline())
    assert not store.is_node_dead(node)

    child.kill()
    child.communicate()

    assert not store.is_node_dead(node)
    wait_until(lambda: store.is_node_dead(node), "it is known to be dead", 10)


def test_a_process_that_lost_its_connections_is_not_taken_for_dead(
    both: tuple[Store, Store], clock: StillClock
) -> None:
    one, other = both
    (first, _) = one.reader.workers()
    for _ in range(3):
        shared_server().throw_out(SHARED)
        end = time.monotonic() + 1.5
        while time.monotonic() < end:
            try:
                assert not other.is_node_dead(first.node)
            except StoreUnavailable:
                continue
            time.sleep(0.02)

    assert not other.is_node_dead(first.node)
    back(one)
    assert one.reader.workers()[0] == first


def test_the_version_differs_once_another_process_has_committed(both: tuple[Store, Store]) -> None:
    one, other = both
    before = one.version()

    write(other, EventAppended(Event(EventId(1), "a", b"{}", NOW)))

    assert one.version() != before
