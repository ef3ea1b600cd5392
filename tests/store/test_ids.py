"""Ids: one integer inside, a ULID outside; neither is ever given twice."""

import threading
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from errands.clock import IdSource
from errands.model.ids import (
    COUNTER_BITS,
    EPOCH_MS,
    NODES,
    first_id,
    id_time,
    make_id,
    parse_id,
    public_id,
)
from tests.store.process import NOW, StillClock

KEY, OTHER_KEY = b"k" * 32, b"o" * 32
ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
numbers = st.integers(0, (1 << 63) - 1)
moments = st.integers(EPOCH_MS, EPOCH_MS + (1 << 41) - 1)


@given(numbers)
def test_a_public_id_is_read_back(number: int) -> None:
    assert parse_id(public_id(number, KEY), KEY) == number


@given(numbers)
def test_a_public_id_is_26_letters_and_may_be_typed_in_small_ones(number: int) -> None:
    text = public_id(number, KEY)

    assert len(text) == 26
    assert set(text) <= set(ALPHABET)
    assert parse_id(text.lower(), KEY) == number


@given(numbers, st.integers(0, 25), st.sampled_from(ALPHABET))
def test_a_public_id_with_one_letter_changed_is_refused(
    number: int, place: int, letter: str
) -> None:
    text = public_id(number, KEY)
    tampered = text[:place] + letter + text[place + 1 :]

    assert parse_id(tampered, KEY) == (number if tampered == text else None)


@given(numbers)
def test_a_public_id_of_another_installation_is_refused(number: int) -> None:
    assert parse_id(public_id(number, OTHER_KEY), KEY) is None


@given(
    st.text(max_size=30) | st.text(st.sampled_from(ALPHABET + "_-+ ٣ß"), min_size=26, max_size=26)
)
def test_any_other_text_is_refused(text: str) -> None:
    assert parse_id(text, KEY) is None


@given(moments, moments)
def test_public_ids_of_later_milliseconds_come_later(a: int, b: int) -> None:
    first, second = (public_id(make_id(ms, 0, 0), KEY) for ms in (a, b))

    assert (first < second) == (a < b) or a == b


@given(moments, st.integers(0, NODES - 1), st.integers(0, (1 << COUNTER_BITS) - 1))
def test_an_id_tells_when_it_was_made(ms: int, node: int, counter: int) -> None:
    id = make_id(ms, node, counter)

    assert id_time(id) == ms
    assert first_id(ms) <= id < first_id(ms + 1)
    assert 0 <= id < 1 << 63


@given(st.lists(st.integers(-10_000, 10_000), min_size=2, max_size=200))
def test_ids_only_grow_however_the_clock_jumps(jumps: list[int]) -> None:
    clock = StillClock()
    source = IdSource(3, clock)
    made = [source()]
    for jump in jumps:
        clock.ms += jump
        source.tick()
        made += [source() for _ in range(abs(jump) % 3)]

    assert all(a < b for a, b in pairwise(made))
    assert all((id >> COUNTER_BITS) % NODES == 3 for id in made)


def test_ids_are_of_the_millisecond_of_the_last_tick() -> None:
    clock = StillClock()
    source = IdSource(3, clock)
    clock.ms += 5
    assert id_time(source()) == NOW

    source.tick()

    assert id_time(source()) == NOW + 5


def test_more_ids_than_a_millisecond_holds_borrow_from_the_next() -> None:
    source = IdSource(3, StillClock())

    made = [source() for _ in range(3 << COUNTER_BITS)]

    assert made == sorted(set(made))
    assert id_time(made[-1]) in (NOW + 2, NOW + 3)


def test_threads_never_share_an_id() -> None:
    source = IdSource(3, StillClock())
    made: list[list[int]] = [[] for _ in range(8)]
    start = threading.Barrier(8)

    def make(into: list[int]) -> None:
        start.wait()
        into.extend(source() for _ in range(3_000))

    threads = [threading.Thread(target=make, args=(into,)) for into in made]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len({id for into in made for id in into}) == 24_000
    assert all(into == sorted(into) for into in made)


def test_two_nodes_never_share_an_id() -> None:
    clock = StillClock()
    one, other = IdSource(1, clock), IdSource(2, clock)

    assert not {one() for _ in range(9_000)} & {other() for _ in range(9_000)}
