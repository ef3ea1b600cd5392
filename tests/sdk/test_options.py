from datetime import timedelta
from typing import Any

import pytest

from errands import Cancel, Event, InvalidConfig, Retries, Timeouts, Trigger
from errands.model.function import CancelOn, RetryPolicy
from errands.model.function import Trigger as TriggerConfig


class Paid(Event, name="order/paid"):
    order_id: str
    cents: int


class Abstract(Event):
    order_id: str


def test_retries_as_policy() -> None:
    retries = Retries(8, delay="1m", factor=3, delay_max=timedelta(hours=6), jitter=False)

    assert retries.policy == RetryPolicy(8, 60_000, 3.0, 21_600_000, jitter=False)
    assert retries.is_plain


def test_a_plain_count_means_the_standard_table() -> None:
    assert Retries(5).policy == RetryPolicy(5)
    assert Retries(5).delay_ms(0, ValueError()) is None


def test_a_function_says_the_delay() -> None:
    retries = Retries(3, delay=lambda attempt, error: f"{attempt + 1}m" if error.args else "1s")

    assert retries.delay_ms(1, ValueError("x")) == 120_000
    assert retries.delay_ms(1, ValueError()) == 1_000
    assert not retries.is_plain


def test_a_function_that_says_nonsense_is_told_so() -> None:
    nonsense: Any = lambda attempt, error: 5  # noqa: E731
    with pytest.raises(InvalidConfig, match=r"what delay\(\) gave"):
        Retries(3, delay=nonsense).delay_ms(0, ValueError())


def test_give_up_on_knows_subclasses() -> None:
    retries = Retries(3, give_up_on=(LookupError,))

    assert retries.gives_up_on(KeyError())
    assert not retries.gives_up_on(ValueError())


@pytest.mark.parametrize(
    "arguments",
    [
        {"count": -1},
        {"count": 1001},
        {"count": "3"},
        {"count": True},
        {"count": 2.0},
        {"count": 1, "delay": 5},
        {"count": 1, "factor": 0.5},
        {"count": 1, "factor": "2"},
        {"count": 1, "delay_max": "soon"},
        {"count": 1, "give_up_on": ValueError},
        {"count": 1, "give_up_on": ("ValueError",)},
    ],
)
def test_impossible_retries_are_refused(arguments: dict[str, Any]) -> None:
    with pytest.raises(InvalidConfig):
        Retries(**arguments)


def test_triggers() -> None:
    assert Trigger(Paid).config == TriggerConfig("order/paid")
    assert Trigger("order/*").config == TriggerConfig("order/*")
    condition = "event.data.cents > 100"
    assert Trigger(Paid, if_exp=condition).config == TriggerConfig("order/paid", condition)
    assert Trigger(Paid, if_exp=lambda paid: paid.cents > 100).config.condition == condition


@pytest.mark.parametrize("event", ["", "a*b", "*/x", "a\n", "x" * 300, 3, int, Abstract, Event])
def test_what_is_no_event_is_refused(event: Any) -> None:
    with pytest.raises(InvalidConfig):
        Trigger(event)


def test_cancel() -> None:
    cancel = Cancel(Paid, match="data.order_id", if_exp="async.data.cents > 0", timeout="1h")

    assert cancel.config == CancelOn(
        "order/paid", "data.order_id", "async.data.cents > 0", 3_600_000
    )


@pytest.mark.parametrize("match", ["", "data.", "data order", "data['x']", 3])
def test_a_match_is_a_path(match: Any) -> None:
    with pytest.raises(InvalidConfig, match="path"):
        Cancel(Paid, match=match)


def test_timeouts() -> None:
    timeouts = Timeouts(start="10s", finish=timedelta(days=30))

    assert (timeouts.start_ms, timeouts.finish_ms) == (10_000, 2_592_000_000)
    with pytest.raises(InvalidConfig, match="longer than nothing"):
        Timeouts(finish="0s")
