"""From what is sent to runs."""

import pytest
from msgspec.structs import replace

from errands.engine.ingest import CHUNK, DEDUP_MS
from errands.engine.input import Expand, Sent
from errands.engine.transition import FollowUpQueued
from errands.model.errors import FunctionNotFound
from errands.model.event import NewEvent
from errands.model.item import Place
from errands.model.job import NewJob
from tests.engine.batch import ME, NOW, REPORT, WELCOME, Batch

SIGNED_UP = NewEvent("user/signed.up", b'{"user_id":"u1"}')
CALL = NewJob("shop", "report", b'{"n":1}')


def test_an_event_starts_each_function_that_it_triggers() -> None:
    batch = Batch(WELCOME, replace(WELCOME, id=7, config=replace(WELCOME.config, slug="again")))
    batch.decide(Sent((SIGNED_UP,)))
    assert [run.function for run in batch.state.new_runs] == [1, 7]
    assert {run.event for run in batch.state.new_runs} == {batch.state.new_events[0].id}


def test_an_event_that_nobody_awaits_is_kept() -> None:
    batch = Batch(WELCOME)
    batch.decide(Sent((NewEvent("other", b"{}"),)))
    assert len(batch.state.new_events) == 1
    assert batch.state.new_runs == []


def test_a_retired_function_is_not_started() -> None:
    batch = Batch(replace(WELCOME, retired=True))
    batch.decide(Sent((SIGNED_UP,)))
    assert batch.state.new_runs == []


def test_a_run_is_born_leased_where_there_is_room() -> None:
    batch = Batch(REPORT, room=1)
    first, second = batch.decide(Sent((CALL, CALL))).answer.ids
    assert (batch.item_now(first).place, batch.item_now(first).worker) == (Place.RUNNING, ME)
    assert batch.item_now(second).place == Place.READY
    assert list(batch.state.ready.added.values()) == [second]


def test_a_run_is_not_born_leased_past_others_in_its_lane() -> None:
    batch = Batch(REPORT, room=5)
    batch.state.busy_lanes[REPORT.id] = None
    (run,) = batch.decide(Sent((CALL,))).answer.ids
    assert batch.item_now(run).place == Place.READY


def test_a_delayed_job_is_parked_until_it_is_due() -> None:
    batch = Batch(REPORT, room=5)
    (run,) = batch.decide(Sent((replace(CALL, delay_ms=5_000),))).answer.ids
    assert batch.item_now(run).place == Place.PARKED
    assert [timer.due for timer in batch.state.timers.added] == [NOW + 5_001]


def test_an_id_seen_within_a_day_starts_nothing_and_gives_the_first_one() -> None:
    batch = Batch(REPORT)
    batch.state.dedup.now[REPORT.id, "k"] = (77, NOW + 1)
    assert batch.decide(Sent((replace(CALL, key="k"),))).answer.ids == (77,)
    assert batch.state.new_runs == []


def test_an_id_seen_more_than_a_day_ago_is_new() -> None:
    batch = Batch(REPORT)
    batch.state.dedup.now[REPORT.id, "k"] = (77, NOW)
    (run,) = batch.decide(Sent((replace(CALL, key="k"),))).answer.ids
    assert run != 77
    assert batch.state.dedup.now[REPORT.id, "k"] == (run, NOW + DEDUP_MS)


def test_one_id_twice_in_a_send_is_one_run() -> None:
    batch = Batch(REPORT)
    ids = batch.decide(Sent((replace(CALL, key="k"), replace(CALL, key="k")))).answer.ids
    assert len(set(ids)) == len(batch.state.new_runs) == 1


def test_the_same_id_in_the_next_input_of_the_batch_is_seen() -> None:
    batch = Batch(REPORT)
    first = batch.decide(Sent((replace(CALL, key="k"),))).answer.ids
    assert batch.decide(Sent((replace(CALL, key="k"),))).answer.ids == first


def test_an_unknown_function_refuses_the_whole_send() -> None:
    batch = Batch(REPORT)
    with pytest.raises(FunctionNotFound, match="shop/nope"):
        batch.decide(Sent((CALL, replace(CALL, function="nope"))))
    assert batch.state.new_runs == []
    assert batch.state.room == 0


def test_a_large_send_is_accepted_whole_and_expanded_in_chunks() -> None:
    batch = Batch(REPORT)
    decision = batch.decide(Sent((CALL,) * (2 * CHUNK + 1)))
    chunks = [t.follow_up for t in decision.transitions if isinstance(t, FollowUpQueued)]
    assert len(batch.state.new_runs) == len(decision.answer.ids) == 2 * CHUNK + 1
    assert [len(c.items) for c in chunks if isinstance(c, Expand)] == [CHUNK, CHUNK, 1]
    assert batch.state.items.before == {}
    for n, chunk in enumerate(chunks, 1):
        batch.state.inbox[n] = None
        batch.decide(replace(chunk, inbox=n))
    assert list(batch.state.items.before) == list(decision.answer.ids)


def test_a_chunk_that_is_handed_over_twice_is_expanded_once() -> None:
    batch = Batch(WELCOME)
    batch.state.inbox[5] = None
    chunk = Expand(((99, SIGNED_UP),), inbox=5)
    batch.decide(chunk)
    batch.decide(chunk)
    assert len(batch.state.new_runs) == 1
