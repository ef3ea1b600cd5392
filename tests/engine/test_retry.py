"""When a failed attempt is tried again."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from errands.engine.retry import next_attempt_at, retry_delay_ms
from errands.model.call import Again
from errands.model.function import RetryPolicy

NOW = 1_800_000_000_000


@pytest.mark.parametrize(
    ("attempt", "seconds"),
    list(enumerate((15, 30, 60, 120, 300, 600, 1200, 2400, 3600, 7200, 7200, 7200))),
)
def test_standard_table(attempt: int, seconds: int) -> None:
    assert retry_delay_ms(RetryPolicy(count=20), attempt, 0.0) == seconds * 1000


def test_jitter_adds_up_to_thirty_seconds() -> None:
    assert retry_delay_ms(RetryPolicy(), 0, 0.5) == 30_000


def test_no_delay_when_no_attempt_is_left() -> None:
    assert retry_delay_ms(RetryPolicy(count=3), 3, 0.0) is None


def test_own_delay_grows_by_its_factor_up_to_its_limit() -> None:
    policy = RetryPolicy(count=9, delay_ms=100, factor=3, delay_ms_max=1_000, jitter=False)
    assert [retry_delay_ms(policy, n, 0.9) for n in range(4)] == [100, 300, 900, 1_000]


def test_retry_after_wins_over_the_table() -> None:
    assert next_attempt_at(Again(RetryPolicy(), 0, 0.3, after_ms=600_000), NOW) == NOW + 600_001
    assert next_attempt_at(Again(RetryPolicy(), 0, 0.3, at=NOW + 5), NOW) == NOW + 5


def test_retry_after_does_not_add_attempts() -> None:
    assert next_attempt_at(Again(RetryPolicy(count=1), 1, 0.3, after_ms=1), NOW) is None


def test_a_final_error_is_not_tried_again() -> None:
    assert next_attempt_at(Again(RetryPolicy(count=9), 0, 0.0, is_final=True), NOW) is None


policies = st.builds(
    RetryPolicy,
    count=st.integers(0, 50),
    delay_ms=st.none() | st.integers(0, 10**9),
    factor=st.floats(1, 1000),
    delay_ms_max=st.none() | st.integers(0, 10**9),
    jitter=st.booleans(),
)


@given(policy=policies, attempt=st.integers(0, 60), jitter=st.floats(0, 1, exclude_max=True))
def test_the_next_attempt_is_never_in_the_past(
    policy: RetryPolicy, attempt: int, jitter: float
) -> None:
    due = next_attempt_at(Again(policy, attempt, jitter), NOW)
    assert (due is None) == (attempt >= policy.count)
    assert due is None or due > NOW
