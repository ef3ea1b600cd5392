"""The connection is lost around a COMMIT: what the batch holds is neither lost nor doubled."""

from collections.abc import Iterator
from urllib.parse import quote

import pytest

from errands.engine.input import Sent
from errands.engine.transition import EventAppended
from errands.model.call import KEPT, Accepted, RunReturned
from errands.model.errors import Unavailable
from errands.model.event import Event, NewEvent
from errands.model.ids import EventId
from errands.store.interface import Store, StoreUnavailable
from errands.store.open import open_store
from tests.store.backdoor import back, content
from tests.store.batch import write
from tests.store.postgres.proxy import Proxy
from tests.store.postgres.server import SHARED, shared_server
from tests.store.process import NOW, Process, StillClock

EVENT = EventAppended(Event(EventId(1), "a", b"{}", NOW))
SENT = Sent((NewEvent("user/signed.up", b"{}"),))


@pytest.fixture
def proxy(url: str) -> Iterator[Proxy]:
    proxy = Proxy(shared_server().folder / ".s.PGSQL.5432")
    yield proxy
    proxy.close()


@pytest.fixture
def store(url: str, proxy: Proxy) -> Iterator[Store]:
    schema = quote(url.rpartition("schema=")[2])
    store = open_store(f"postgresql://postgres@127.0.0.1:{proxy.port}/{SHARED}?schema={schema}")
    yield store
    store.close()


@pytest.fixture
def process(store: Store, clock: StillClock) -> Process:
    return Process(store, clock, concurrency=100)


def test_a_batch_whose_commit_was_made_and_not_answered_is_kept_once(
    store: Store, proxy: Proxy, url: str
) -> None:
    write(store, EVENT)
    proxy.cut = "after"

    write(store, EventAppended(Event(EventId(2), "b", b"{}", NOW)))

    assert proxy.cuts == 1
    assert [row[1] for row in content(url)["event"]] == ["a", "b"]


def test_a_batch_whose_commit_never_came_is_not_kept_and_said_so(
    store: Store, proxy: Proxy, url: str
) -> None:
    proxy.cut = "before"

    with pytest.raises(StoreUnavailable):
        write(store, EVENT)

    assert content(url)["event"] == []
    back(store)
    write(store, EVENT)
    assert len(content(url)["event"]) == 1


def test_a_sender_whose_commit_was_made_is_told_that_it_was(process: Process, proxy: Proxy) -> None:
    proxy.cut = "after"

    (accepted,) = process.decide(SENT)

    assert isinstance(accepted, Accepted)
    counts = process.store.reader.counts()
    assert (counts["event"], counts["run"]) == (1, 1)
    assert len(process.leases) == 1


def test_a_sender_whose_commit_never_came_may_send_again(process: Process, proxy: Proxy) -> None:
    proxy.cut = "before"
    ticket = process.submit(SENT)
    process.committer.step()
    assert isinstance(process.answer(ticket), Unavailable)
    back(process.store)

    (accepted,) = process.decide(SENT)

    assert isinstance(accepted, Accepted)
    assert process.store.reader.counts()["event"] == 1


@pytest.mark.parametrize("how", ["before", "after"])
def test_a_run_whose_end_was_reported_meanwhile_ends_once(
    process: Process, proxy: Proxy, how: str
) -> None:
    (run,) = process.enqueue()
    proxy.cut = how
    ended = process.submit(RunReturned(run, 1, b"1"))
    process.committer.step()
    back(process.store)

    process.drain()

    assert process.answer(ended) == KEPT
    assert process.times_told[ended] == 1
    assert process.store.reader.counts()["done"] == 1


def test_many_cuts_lose_and_double_nothing(process: Process, proxy: Proxy) -> None:
    accepted = 0
    for n in range(30):
        proxy.cut = ("after", "before", None)[n % 3]
        ticket = process.submit(SENT)
        process.committer.step()
        back(process.store)
        process.drain()
        accepted += isinstance(process.answer(ticket), Accepted)

    assert proxy.cuts == 20
    assert accepted == 20
    counts = process.store.reader.counts()
    assert (counts["event"], counts["run"], counts["item"]) == (20, 20, 20)
