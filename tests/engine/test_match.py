"""Names, keys and conditions."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from errands.engine.match import holds, keys_of, matches_name, wait_holds, wait_key


@pytest.mark.parametrize(
    ("pattern", "name", "does"),
    [
        ("user/signed.up", "user/signed.up", True),
        ("user/signed.up", "user/signed.up2", False),
        ("user/*", "user/signed.up", True),
        ("user/*", "users/x", False),
        ("*", "anything", True),
    ],
)
def test_wildcards_stand_for_any_rest(pattern: str, name: str, does: bool) -> None:
    assert matches_name(pattern, name) is does


def test_a_condition_on_a_missing_field_does_not_match() -> None:
    assert not holds("event.data.plan == 'pro'", event={"data": {}})
    assert holds("event.data.plan == 'pro'", event={"data": {"plan": "pro"}})


def test_a_condition_that_gives_no_boolean_does_not_match() -> None:
    assert not holds("event.data.n", event={"data": {"n": 1}})


def test_a_wait_sees_its_own_event_and_the_awaited_one() -> None:
    condition = "async.data.total > event.data.least"
    assert wait_holds(condition, b'{"data":{"least":3}}', {"data": {"total": 4}})
    assert not wait_holds(condition, b'{"data":{"least":3}}', {"data": {"total": 3}})


def test_an_event_has_the_key_under_which_its_wait_is_found() -> None:
    event = {"name": "paid", "data": {"order": {"id": "o1"}}}
    assert keys_of(event, "paid", ("data.order.id",)) == wait_key(
        "paid", ("data.order.id",), ("o1",)
    )


def test_an_event_without_the_value_has_no_key() -> None:
    assert keys_of({"data": {}}, "paid", ("data.order.id",)) is None
    assert keys_of({"data": {"order": {"id": [1]}}}, "paid", ("data.order.id",)) is None


scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text()
)


@given(one=scalars, other=scalars)
def test_keys_agree_exactly_when_values_do(one: object, other: object) -> None:
    same = type(one) is type(other) or (not isinstance(one, bool) and not isinstance(other, bool))
    same = same and one == other
    assert (wait_key("e", ("p",), (one,)) == wait_key("e", ("p",), (other,))) is same


def test_one_and_one_point_zero_are_one_number() -> None:
    assert wait_key("e", ("p",), (1,)) == wait_key("e", ("p",), (1.0,))
    assert wait_key("e", ("p",), (1,)) != wait_key("e", ("p",), (True,))
