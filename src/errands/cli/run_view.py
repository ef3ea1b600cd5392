"""One run as people read it: all that is known of it, or what changes while it goes on."""

from typing import Any

import msgspec
from rich.console import Group, RenderableType
from rich.text import Text

from errands.cli.output import COLOURS, all_printable, clock_time, console, printable
from errands.cli.waterfall import Run, waterfall
from errands.clock import SystemClock
from errands.model.duration import format_ms

VALUE_MAX = 2_000
"""Characters of an input or result."""
PROGRESS = 32
"""Columns of the progress bar."""


def coloured(word: str) -> Text:
    return Text(word, COLOURS.get(word, "white"))


def took(start: int | None, end: int | None, now: int) -> str:
    return "" if start is None else format_ms(max(0, (end or now) - start))


def remark_of(run: Run) -> str:
    """What there is to say of it in a line."""
    if run["error"] is not None:
        return run["error"]
    if run["cancelled"] is not None:
        return run["cancelled"]
    percent = "" if run["progress"] is None else f"{run['progress']:.0f} %"
    return " ".join(part for part in (percent, run["message"]) if part)


def waits_for(run: Run) -> str:
    """What has to happen before it goes on, and when; empty while it executes."""
    return "; ".join(
        one["what"] if one["at"] is None else f"{one['what']}, at {clock_time(one['at'])}"
        for one in run["waitingFor"]
    )


# -- while it goes on ------------------------------------------------------------------------------


def live_view(run: Run, now: int, width: int, *, with_steps: bool = True) -> RenderableType:
    """A few lines: what it is, how far, what it waits for, its steps."""
    values = {name: run.get(name) for name in ("input", "result")}
    run = all_printable(run) | values
    lines: list[RenderableType] = [_headline(run, now)]
    if run["progress"] is not None and run["endedAt"] is None:
        lines.append(progress_bar(run["progress"], run["message"] or ""))
    if waits := waits_for(run):
        lines.append(Text.assemble(("  waits for ", "dim"), waits))
    if with_steps and run.get("steps"):
        lines.append(waterfall(run, now, width))
    if run["endedAt"] is not None and (outcome := _outcome(run)):
        lines.append(Text(f"  {outcome}"))
    return Group(*lines)


def progress_bar(percent: float, message: str) -> Text:
    done = round(percent * PROGRESS / 100)
    return Text.assemble(
        ("  " + "━" * done, "cyan"),
        ("─" * (PROGRESS - done), "dim"),
        f"  {percent:.0f} % {message}".rstrip(),
    )


def _headline(run: Run, now: int) -> Text:
    return Text.assemble(
        (run["id"], "bold"),
        f"  {run['app']}/{run['function']}  ",
        coloured(run["status"]),
        (f"  {took(run['startedAt'], run['endedAt'], now)}".rstrip(), "dim"),
    )


def _outcome(run: Run) -> str:
    if run["status"] == "completed" and run.get("result") is not None:
        return f"result {value_of(run['result'])}"
    return f"error {run['error']}" if run["error"] else ""


# -- all of it -------------------------------------------------------------------------------------


def print_run(run: Run) -> None:
    out, now = console(), SystemClock().now()
    # Values are shown as JSON, which has escapes of its own.
    values = {name: run[name] for name in ("input", "result")}
    run = all_printable(run) | values
    out.print(_headline(run, now))
    for name, value in _facts(run, now):
        out.print(Text.assemble((f"  {name:<12}", "dim"), value))
    if run["steps"]:
        out.print("\n[bold]Steps[/]")
        out.print(waterfall(run, now, out.width))
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


def _facts(run: Run, now: int) -> list[tuple[str, str]]:
    facts = [
        ("created", clock_time(run["createdAt"])),
        ("started", clock_time(run["startedAt"])),
        ("ended", clock_time(run["endedAt"])),
        ("took", took(run["startedAt"], run["endedAt"], now)),
        ("attempt", str(run["attempt"]) if run["attempt"] else ""),
        ("waits for", waits_for(run)),
        ("progress", remark_of(run) if run["progress"] is not None else ""),
        ("event", f"{run['event']['name']} {run['event']['id']}" if run["event"] else ""),
        ("parent", run["parent"] or ""),
        ("tags", ", ".join(run["tags"])),
        ("input", value_of(run["input"])),
        ("result", value_of(run["result"]) if run["status"] == "completed" else ""),
        ("error", run["error"] or ""),
        ("cancelled", run["cancelled"] or ""),
    ]
    return [(name, value) for name, value in facts if value]


def value_of(value: Any) -> str:
    text = printable(msgspec.json.encode(value).decode())
    return text if len(text) <= VALUE_MAX else f"{text[:VALUE_MAX]}… (all of it: --json)"


def _offset(at: int, run: Run) -> str:
    return f"+{format_ms(max(0, at - run['createdAt']))}"


def _told(one: dict[str, Any]) -> str:
    """ "attempt failed  get-user, attempt 1: ConnectionError: refused"."""
    details = ", ".join(
        part
        for part in (
            one.get("step"),
            f"attempt {one['attempt']}" if one.get("attempt") else None,
            f"by worker {one['worker']}" if "worker" in one and "why" in one else None,
            one.get("run"),
        )
        if part
    )
    why = one.get("error") or one.get("why") or ""
    return f"{one['what']:<14}  {': '.join(part for part in (details, why) if part)}"
