from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from errands.model.duration import DURATION_MS_MAX, format_ms, parse_duration
from errands.model.errors import InvalidConfig

MINUTE, HOUR, DAY = 60_000, 3_600_000, 86_400_000


@pytest.mark.parametrize(
    ("text", "milliseconds"),
    [
        ("300ms", 300),
        ("5s", 5_000),
        ("5 s", 5_000),
        ("1.5h", 90 * MINUTE),
        ("1h 30m", 90 * MINUTE),
        ("1d2h", DAY + 2 * HOUR),
        ("3 days", 3 * DAY),
        ("1 day", DAY),
        ("2 weeks", 14 * DAY),
        ("10 minutes 30 seconds", 10 * MINUTE + 30_000),
        ("  1h  ", HOUR),
        ("0s", 0),
        ("0.1ms", 1),
    ],
)
def test_accepted_forms(text: str, milliseconds: int) -> None:
    assert parse_duration(text) == milliseconds


@pytest.mark.parametrize(
    "nonsense",
    [
        "",
        " ",
        "5",
        "h",
        "5x",
        "-1s",
        "1h-30m",
        "five s",
        "1m 2m",
        "5s 3h",
        "1.h",
        "1e3s",
        "5 S",
        "٣s",
    ],
)
def test_nonsense_is_refused_with_the_accepted_forms(nonsense: str) -> None:
    with pytest.raises(InvalidConfig, match='"1h 30m"'):
        parse_duration(nonsense)


@pytest.mark.parametrize("value", [5, 0, 2.5, True, None, b"5s", ["5s"]])
def test_only_texts_and_timedeltas_are_durations(value: Any) -> None:
    with pytest.raises(InvalidConfig, match="refused"):
        parse_duration(value)


def test_a_bare_number_says_why_it_is_refused() -> None:
    with pytest.raises(InvalidConfig, match=r"sleep: 5 is refused; .* seconds or milliseconds"):
        parse_duration(5, "sleep")  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize("value", [timedelta(days=-1), timedelta(microseconds=-1_000)])
def test_negative_is_refused(value: timedelta) -> None:
    with pytest.raises(InvalidConfig, match="negative"):
        parse_duration(value)


@pytest.mark.parametrize(
    "value", ["101 years", "5300 weeks", timedelta(days=40_000), "9" * 400 + "s"]
)
def test_absurdly_long_is_refused(value: str | timedelta) -> None:
    with pytest.raises(InvalidConfig):
        parse_duration(value)


@given(st.timedeltas(timedelta(0), timedelta(milliseconds=DURATION_MS_MAX)))
def test_a_timedelta_is_never_shortened(value: timedelta) -> None:
    milliseconds = parse_duration(value)

    assert timedelta(0) <= timedelta(milliseconds=milliseconds) - value < timedelta(milliseconds=1)


@given(st.integers(0, 4), st.integers(0, 6), st.integers(0, 23), st.integers(0, 59))
def test_the_parts_add_up(weeks: int, days: int, hours: int, minutes: int) -> None:
    text = f"{weeks}w {days} days{hours}h{minutes} min"

    wanted = timedelta(weeks=weeks, days=days, hours=hours, minutes=minutes)
    assert parse_duration(text) == wanted // timedelta(milliseconds=1)


@given(st.text())
def test_any_text_is_a_duration_or_refused(text: str) -> None:
    try:
        assert 0 <= parse_duration(text) <= DURATION_MS_MAX
    except InvalidConfig:
        pass


@pytest.mark.parametrize(
    ("milliseconds", "words"),
    [
        (0, "0 ms"),
        (12, "12 ms"),
        (1_000, "1 s"),
        (2_590, "2.5 s"),
        (90_000, "1 min 30 s"),
        (90 * MINUTE, "1 h 30 min"),
        (2 * HOUR + 5_000, "2 h"),
        (DAY, "1 day"),
        (3 * DAY, "3 days"),
        (DAY + 2 * HOUR, "1 day 2 h"),
        (-90_000, "-1 min 30 s"),
    ],
)
def test_words_for_people(milliseconds: int, words: str) -> None:
    assert format_ms(milliseconds) == words


@given(st.integers(0, DURATION_MS_MAX))
def test_what_is_shown_can_be_read_again_and_is_not_more(milliseconds: int) -> None:
    shown = parse_duration(format_ms(milliseconds))

    assert milliseconds * 0.9 <= shown <= milliseconds
