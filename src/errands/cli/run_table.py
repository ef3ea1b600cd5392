"""Runs as people read them: a table, and the waterfall of one run's steps."""

from typing import Any

import msgspec
from rich.cells import cell_len
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from errands.cli.output import (
    COLOURS,
    all_printable,
    clock_time,
    console,
    printable,
    short_time,
)
from errands.clock import SystemClock
from errands.model.duration import format_ms

HEADER = ("RUN", "FUNCTION", "STATUS", "CREATED", "TOOK")
COLUMNS_MIN = HEADER.index("STATUS") + 1
GAP = 2
REMARK_MIN = 6
"""Columns below which a remark says nothing: "100 %" and a letter."""
BAR = 32
"""Width of the waterfall."""
STEP_COLOURS = {"completed": "green", "failed": "red", "retrying": "yellow", "waiting": "cyan"}
VALUE_MAX = 2_000
"""Characters of an input or result."""


def _word(run: dict[str, Any]) -> str:
    return "cancelled" if run["cancelled"] is not None else run["status"]


def _coloured(word: str) -> str:
    return f"[{COLOURS[word]}]{word}[/]"


def print_list(found: list[dict[str, Any]], limit: int) -> None:
    out, now = console(), SystemClock().now()
    if not found:
        out.print("No runs.")
        return
    shown = [all_printable(run) for run in found]
    rows = [_row(run, now) for run in shown]
    widths = [max(map(cell_len, column)) for column in zip(HEADER, *rows, strict=True)]
    # Ids and names are there to be copied, so they are never cut. The remark takes what room is
    # left; without any, the times are left out too, the less needed first.
    count = len(HEADER)
    while count > COLUMNS_MIN and _width(widths[:count]) > out.width:
        count -= 1
    room = out.width - _width(widths[:count]) - GAP
    table = Table(box=None, padding=(0, GAP, 0, 0), pad_edge=False, header_style="bold")
    for name in HEADER[:count]:
        table.add_column(name, no_wrap=True, justify="right" if name == "TOOK" else "left")
    if room >= REMARK_MIN:
        table.add_column("", no_wrap=True)
    for run, row in zip(shown, rows, strict=True):
        cells = [escape(cell) for cell in row[:count]]
        cells[HEADER.index("STATUS")] = _coloured(_word(run))
        remark = Text(_remark(run))
        remark.truncate(max(0, room), overflow="ellipsis")
        table.add_row(*cells, *([remark] if room >= REMARK_MIN else []))
    # A terminal that is too narrow breaks the lines itself.
    out.width = max(out.width, _width(widths[:count]))
    out.print(table)
    if len(found) == limit:
        out.print(f"[dim]Older ones: errands runs list --before {found[-1]['id']}[/]")


def _width(widths: list[int]) -> int:
    return sum(widths) + GAP * (len(widths) - 1)


def _row(run: dict[str, Any], now: int) -> tuple[str, ...]:
    return (
        run["id"],
        f"{run['app']}/{run['function']}",
        _word(run),
        short_time(run["createdAt"], now),
        _took(run["startedAt"], run["endedAt"], now),
    )


def _took(start: int | None, end: int | None, now: int) -> str:
    return "" if start is None else format_ms(max(0, (end or now) - start))


def _remark(run: dict[str, Any]) -> str:
    if run["error"] is not None:
        return _first_line(run["error"])
    if run["cancelled"] is not None:
        return _first_line(run["cancelled"])
    percent = "" if run["progress"] is None else f"{run['progress']:.0f} %"
    return _first_line(" ".join(part for part in (percent, run["message"]) if part))


def _first_line(text: str) -> str:
    return text.partition("\n")[0]


# -- one run ---------------------------------------------------------------------------------------


def print_run(run: dict[str, Any]) -> None:
    out, now = console(), SystemClock().now()
    # Values are shown as JSON, which has escapes of its own.
    values = {name: run[name] for name in ("input", "result")}
    run = all_printable(run) | values
    out.print(
        f"[bold]{run['id']}[/]  {escape(run['app'])}/{escape(run['function'])}"
        f"  {_coloured(_word(run))}"
    )
    for name, value in _facts(run, now):
        out.print(Text.assemble((f"  {name:<12}", "dim"), value))
    if run["steps"]:
        out.print("\n[bold]Steps[/]")
        out.print(_waterfall(run, now))
    out.print("\n[bold]History[/]")
    for one in run["history"]:
        out.print(Text.assemble((f"  {_offset(one['at'], run):>10}  ", "dim"), _told(one)))
    if "logs" in run:
        out.print("\n[bold]Logs[/]")
        for line in run["logs"]:
            at = f"{line['step']}: " if line["step"] else ""
            out.print(
                Text.assemble(
                    (f"  {_offset(line['at'], run):>10}  {line['level']:<8}", "dim"),
                    f"{at}{line['text']}",
                )
            )


def _facts(run: dict[str, Any], now: int) -> list[tuple[str, str]]:
    facts = [
        ("created", clock_time(run["createdAt"])),
        ("started", clock_time(run["startedAt"])),
        ("ended", clock_time(run["endedAt"])),
        ("took", _took(run["startedAt"], run["endedAt"], now)),
        ("attempt", str(run["attempt"]) if run["attempt"] else ""),
        ("waits for", run["waitingFor"] or ""),
        ("progress", _remark(run) if run["progress"] is not None else ""),
        ("event", f"{run['event']['name']} {run['event']['id']}" if run["event"] else ""),
        ("parent", run["parent"] or ""),
        ("tags", ", ".join(run["tags"])),
        ("input", _value(run["input"])),
        ("result", _value(run["result"]) if run["status"] == "completed" else ""),
        ("error", run["error"] or ""),
        ("cancelled", run["cancelled"] or ""),
    ]
    return [(name, value) for name, value in facts if value]


def _value(value: Any) -> str:
    text = printable(msgspec.json.encode(value).decode())
    return text if len(text) <= VALUE_MAX else f"{text[:VALUE_MAX]}… (all of it: --json)"


def _waterfall(run: dict[str, Any], now: int) -> Table:
    start = run["startedAt"] or run["createdAt"]
    span = max(1, (run["endedAt"] or now) - start)
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(justify="right", no_wrap=True)
    table.add_column()
    for step in run["steps"]:
        end = step["finishedAt"] or now
        took = max(0, end - step["startedAt"])
        first = min(BAR - 1, max(0, (step["startedAt"] - start) * BAR // span))
        length = max(1, min(BAR - first, took * BAR // span))
        colour = STEP_COLOURS.get(step["status"], "white")
        table.add_row(
            f"  {escape(step['id'])}",
            f"[dim]{step['kind']}[/]",
            f"{' ' * first}[{colour}]{'━' * length}[/]{' ' * (BAR - first - length)}",
            format_ms(took),
            f"[{colour}]{step['status']}[/] {escape(step['error'] or '')}".rstrip(),
        )
    return table


def _offset(at: int, run: dict[str, Any]) -> str:
    return f"+{format_ms(max(0, at - run['createdAt']))}"


def _told(one: dict[str, Any]) -> str:
    """ "attempt failed  get-user, attempt 1: ConnectionError: refused"."""
    details = ", ".join(
        part
        for part in (
            one.get("step"),
            f"attempt {one['attempt']}" if one.get("attempt") else None,
            f"by worker {one['worker']}" if "worker" in one and "why" in one else None,
        )
        if part
    )
    why = one.get("error") or one.get("why") or ""
    return f"{one['what']:<16}{': '.join(part for part in (details, why) if part)}"
