"""The steps of a run as bars over its time: what executed when, what waited, what failed."""

from collections.abc import Sequence
from typing import Any

from rich.table import Table
from rich.text import Text

from errands.model.duration import format_ms

BAR_MIN, BAR_MAX = 16, 60
"""Columns of the bars."""
TOOK, SAID_MAX, GAP = 7, 24, 2
"""Columns of a duration, of the words behind it before they are broken, and between columns."""
NAME_MAX = 32
COLOURS = {
    "completed": "green",
    "failed": "red",
    "abandoned": "magenta",
    "retrying": "yellow",
    "waiting": "cyan",
    "opened": "cyan",
}
WAITS = ("sleep", "wait for event", "invoke", "listen for cancel")
EXECUTES, WAITED, BETWEEN, FAILED = "━", "░", "┄", "✗"
"""A step that executes, one that waits, the time until the next attempt, an attempt that failed."""

Run = dict[str, Any]
Step = dict[str, Any]


def waterfall(run: Run, now: int, width: int) -> Table:
    """One row a step, and one for the run's own code if an attempt of that failed.

    run: made printable.   width: of the terminal, in columns.
    """
    steps: list[Step] = run["steps"]
    names = [Text(f"  {_short(step['id'])}") for step in steps]
    words = [_words(step) for step in steps]
    crashes = _failures(run, None)
    beside = (
        max([name.cell_len for name in names] + [7] * bool(crashes))
        + max([len(step["kind"]) for step in steps] + [8] * bool(crashes))
        + TOOK
        + max([min(SAID_MAX, said.cell_len) for said in words], default=0)
        + 4 * GAP
    )
    bar = Bar(run, now, max(BAR_MIN, min(BAR_MAX, width - beside)))
    table = Table(box=None, show_header=False, padding=(0, GAP, 0, 0), pad_edge=False)
    for _ in range(3):
        table.add_column(no_wrap=True)
    table.add_column(justify="right", no_wrap=True)
    table.add_column()
    if crashes:
        table.add_row("  (run)", Text("function", "dim"), bar.draw_run(crashes), "", "")
    for step, name, said in zip(steps, names, words, strict=True):
        took = format_ms(max(0, (step["finishedAt"] or now) - step["startedAt"]))
        line = bar.draw(step, _failures(run, step["id"]))
        table.add_row(name, Text(step["kind"], "dim"), line, took, said)
    return table


def _words(step: Step) -> Text:
    """ "retrying, attempt 1 ConnectionError: refused"."""
    said = Text(step["status"], COLOURS.get(step["status"], "white"))
    if step["attempt"]:
        said.append(f", attempt {step['attempt']}", "dim")
    if step["error"] and step["status"] != "completed":
        said.append(f" {step['error']}", "default")
    return said


def _short(name: str) -> str:
    return name if len(name) <= NAME_MAX else f"{name[: NAME_MAX - 1]}…"


def _failures(run: Run, step: str | None) -> list[int]:
    """When its attempts failed (Unix ms); None: those of the run's own code, and crashes."""
    return [
        one["at"]
        for one in run.get("history", ())
        if (one["what"] == "attempt failed" and one.get("step") == step)
        or (one["what"] == "crashed" and step is None)
    ]


class Bar:
    """Draws times (Unix ms) in so many columns."""

    def __init__(self, run: Run, now: int, width: int) -> None:
        self._start = run["startedAt"] or run["createdAt"]
        self._end = run["endedAt"] or max(now, self._start)
        self._span = max(1, self._end - self._start)
        self._now, self._width = now, width

    def draw(self, step: Step, failures: Sequence[int]) -> Text:
        colour = COLOURS.get(step["status"], "white")
        end = step["finishedAt"] or self._end
        if step["kind"] in WAITS:
            return self._line(step["startedAt"], end, WAITED, "cyan" if end else colour, failures)
        # What began an earlier attempt is not kept: a step's start is that of its last one.
        line = self._line(step["startedAt"], end, EXECUTES, colour, failures)
        if step["status"] != "retrying" or not failures:
            return line
        since = self._column(failures[-1]) + 1
        rest = Text(line.plain[since:].replace(EXECUTES, BETWEEN), colour)
        return Text.assemble(line[:since], rest)

    def draw_run(self, failures: Sequence[int]) -> Text:
        return self._line(self._start, self._end, EXECUTES, "dim", failures)

    def _line(self, start: int, end: int, sign: str, style: str, failures: Sequence[int]) -> Text:
        first = self._column(start)
        length = max(1, min(self._width - first, (end - start) * self._width // self._span))
        signs = [" "] * self._width
        columns = [self._column(at) for at in failures]
        for column in range(min(columns, default=first), first):
            signs[column] = BETWEEN
        signs[first : first + length] = [sign] * length
        for column in columns:
            signs[column] = FAILED
        line = Text("".join(signs), style)
        for column in columns:
            line.stylize("bold red", column, column + 1)
        return line

    def _column(self, at: int) -> int:
        return max(0, min(self._width - 1, (at - self._start) * self._width // self._span))
