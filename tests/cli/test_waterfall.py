"""The waterfall: bars by time, waits told from work, failed attempts marked."""

from typing import Any

from rich.console import Console

from errands.cli.waterfall import waterfall

START = 1_700_000_000_000


def step(id: str, kind: str, start: int, end: int | None, **more: Any) -> dict[str, Any]:
    """start, end: milliseconds after the run's start."""
    return {
        "id": id,
        "kind": kind,
        "status": "waiting" if end is None else "completed",
        "attempt": 0,
        "startedAt": START + start,
        "finishedAt": None if end is None else START + end,
        "error": None,
    } | more


def drawn(
    *steps: dict[str, Any], end: int | None, now: int = 0, history: Any = (), width: int = 20
) -> list[str]:
    run = {
        "createdAt": START,
        "startedAt": START,
        "endedAt": None if end is None else START + end,
        "steps": list(steps),
        "history": [{**one, "at": START + one["at"]} for one in history],
    }
    out = Console(width=160, color_system=None)
    with out.capture() as shown:
        out.print(waterfall(run, START + now, width))
    return [line.rstrip() for line in shown.get().splitlines()]


def bar(line: str, kind: str) -> str:
    """What stands between the kind and the duration, in a terminal that leaves 16 columns."""
    return line.partition(f"{kind}  ")[2][:16]


def test_bars_lie_where_the_steps_were_in_time() -> None:
    one, two = drawn(step("one", "run", 0, 500), step("two", "run", 500, 1000), end=1000)
    assert bar(one, "run") == "━" * 8 + " " * 8
    assert bar(two, "run") == " " * 8 + "━" * 8
    assert one.split()[-3:] == ["500", "ms", "completed"]


def test_waits_are_shaded() -> None:
    (line,) = drawn(step("night", "sleep", 0, 1000), end=1000)
    assert bar(line, "sleep") == "░" * 16


def test_a_step_that_goes_on_grows_with_the_time() -> None:
    short, long = (
        drawn(step("a", "run", 0, 100), step("b", "sleep", 100, None), end=None, now=now)[1]
        for now in (200, 1000)
    )
    assert bar(short, "sleep") == " " * 8 + "░" * 8
    assert bar(long, "sleep") == " " + "░" * 15 or bar(long, "sleep") == " " + "░" * 14 + " "


def test_failed_attempts_are_marked_and_the_time_between_is_dotted() -> None:
    failed = {"what": "attempt failed", "step": "flaky", "attempt": 0, "at": 250}
    (line,) = drawn(step("flaky", "run", 750, 1000, attempt=1), end=1000, history=[failed])
    assert bar(line, "run") == "    ✗┄┄┄┄┄┄┄━━━━"
    assert line.endswith("completed, attempt 1")


def test_a_step_that_waits_for_its_next_attempt_is_dotted() -> None:
    failed = {"what": "attempt failed", "step": "flaky", "attempt": 0, "at": 500}
    (line,) = drawn(
        step("flaky", "run", 250, None, status="retrying", error="ValueError: no", attempt=1),
        end=None, now=1000, history=[failed],
    )  # fmt: skip
    assert bar(line, "run") == "    ━━━━✗┄┄┄┄┄┄┄"
    assert "retrying" in line


def test_a_crash_is_marked_in_a_row_of_the_run() -> None:
    crashed = {"what": "crashed", "at": 500}
    run, _ = drawn(step("one", "run", 0, 200), end=1000, history=[crashed])
    assert run.split()[0] == "(run)"
    assert bar(run, "function") == "━" * 8 + "✗" + "━" * 7


def test_a_step_of_no_time_is_still_seen() -> None:
    (line,) = drawn(step("quick", "run", 1000, 1000), end=1000)
    assert bar(line, "run").strip() == "━"


def test_a_long_name_is_cut() -> None:
    (line,) = drawn(step("x" * 100, "run", 0, 1000), end=1000, width=120)
    assert "x…" in line
