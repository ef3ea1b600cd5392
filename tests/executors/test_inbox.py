"""What lies in the inbox is handed over once, a page at a time."""

import pytest

from errands.engine.input import CancelAsked, Sent
from errands.engine.transition import FollowUpQueued
from errands.executors import inbox
from errands.executors.inbox import Inbox
from errands.model.ids import RunId
from errands.model.job import NewJob
from tests.store.batch import write
from tests.store.process import Process


@pytest.fixture
def look(process: Process) -> Inbox:
    return Inbox(process.committer, process.store.reader)


def queue(process: Process, count: int) -> None:
    asked = [CancelAsked(RunId(n), "x" * 100) for n in range(1, count + 1)]
    write(process.store, *[FollowUpQueued(one, process.worker.id) for one in asked])


def test_what_others_have_queued_is_decided(process: Process, look: Inbox) -> None:
    queue(process, 3)

    assert look.look()
    process.drain()

    assert process.store.reader.counts()["inbox"] == 0


def test_what_it_queued_itself_is_not_handed_over_again(process: Process, look: Inbox) -> None:
    process.submit(Sent((NewJob("shop", "report", b"{}"),) * 600))
    process.committer.step()

    assert process.store.reader.counts()["inbox"] == 2
    assert not look.look()


def test_no_more_than_a_page_is_handed_over_until_that_is_decided(
    process: Process, look: Inbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inbox, "PAGE", 2)
    queue(process, 5)

    look.look()
    look.look()
    process.drain()

    assert process.store.reader.counts()["inbox"] == 3
    assert look.is_more


def test_large_bodies_are_read_a_few_at_a_time(
    process: Process, look: Inbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inbox, "BYTES_MAX", 300)
    queue(process, 5)

    look.look()
    process.drain()

    assert process.store.reader.counts()["inbox"] == 3
