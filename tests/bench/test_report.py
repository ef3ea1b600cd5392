"""What is made of the measurements: medians, ratios, verdicts, a table; a profile by thread."""

import pytest

from bench.command import main
from bench.figures import FIGURES, Value
from bench.profile import shares
from bench.report import summary, table, verdict


def test_value_and_floor_are_medians() -> None:
    told = summary(FIGURES["sqlite.jobs"], [10.0, 90.0, 20.0], [40.0, 10.0, 80.0])

    assert (told["value"], told["floor"], told["ratio"]) == (20, 40, 0.5)


def test_scaled_is_what_the_ratio_makes_of_the_reference_floor() -> None:
    told = summary(FIGURES["sqlite.jobs"], [20.0], [40.0])

    assert told["scaled"] == 66_000


def test_each_part_of_a_pair_has_its_own_median() -> None:
    runs: list[Value] = [{"p50": 1, "p99": 9}, {"p50": 2, "p99": 7}, {"p50": 3, "p99": 8}]

    told = summary(FIGURES["sqlite.latency_ms"], runs, runs)

    assert told["value"] == {"p50": 2, "p99": 8}


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("sqlite.jobs", 50_000, "aim"),
        ("sqlite.jobs", 20_000, "must"),
        ("sqlite.jobs", 19_999, "below"),
        ("sqlite.claim_ratio", 1.2, "must"),
        ("sqlite.claim_ratio", 1.3, "below"),
        ("sqlite.latency_ms", {"p50": 0.8, "p99": 5}, "aim"),
        ("sqlite.latency_ms", {"p50": 0.8, "p99": 6}, "must"),
        ("sqlite.latency_ms", {"p50": 0.8, "p99": 11}, "below"),
    ],
)
def test_verdict_says_how_far_it_is(name: str, value: Value, expected: str) -> None:
    assert verdict(FIGURES[name], value) == expected


def test_table_shows_figure_floor_and_verdict() -> None:
    name = "sqlite.latency_ms"
    pair: Value = {"p50": 0.5, "p99": 4.4}

    line = table({name: summary(FIGURES[name], [pair], [pair])}).splitlines()[-1]

    assert (
        line.split()
        == "sqlite.latency_ms 0.5 / 4.4 ms 1.5 / 10 0.8 / 5 0.5 / 4.4 1 / 1 0.5 / 4.4 aim".split()
    )


def test_unknown_group_is_answered_with_those_there_are(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["sqlight"]) == 2
    assert "sqlite.jobs" in capsys.readouterr().out


def test_profile_gives_each_thread_its_own_time() -> None:
    folded = (
        "thread (0x1): MainThread;run (a/src/errands/x.py:7);inner (a/src/errands/y.py:9) 3\n"
        "thread (0x1): MainThread;run (a/src/errands/x.py:8) 3\n"
        "thread (0x2): errands-committer;step (a/src/errands/z.py:1) 4\n"
    )

    told = shares(folded, 10)

    assert "MainThread: 60% of the time" in told
    assert "30.0%  inner (errands/y.py)" in told
    assert "40.0%  step (errands/z.py)" in told
