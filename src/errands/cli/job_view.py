"""Jobs as people read them."""

from typing import Any

from rich.console import Group, RenderableType
from rich.text import Text

from errands.cli.output import all_printable, clock_time, console, short_time
from errands.cli.run_view import coloured, progress_bar, remark_of, value_of
from errands.cli.table import print_table
from errands.clock import SystemClock

Job = dict[str, Any]


def print_jobs(runs: list[dict[str, Any]]) -> None:
    now = SystemClock().now()
    if not runs:
        console().print("No jobs.")
        return
    rows = [
        (
            run["id"],
            coloured(run["status"]),
            f"{run['app']}/{run['function']}",
            short_time(run["updatedAt"], now),
        )
        for run in runs
    ]
    header = ("JOB", "STATUS", "OF", "UPDATED")
    print_table(header, rows, kept=2, remarks=list(map(remark_of, runs)))


def print_job(job: Job) -> None:
    out = console()
    # The result is shown as JSON, which has escapes of its own.
    told: Job = {**all_printable(job), "result": job.get("result")}
    out.print(_headline(told))
    facts = (
        ("created", clock_time(told["createdAt"])),
        ("updated", clock_time(told["updatedAt"])),
        ("progress", f"{told['progress']:.0f} %" if "progress" in told else ""),
        ("message", told.get("message", "")),
        ("result", value_of(told["result"]) if "result" in job else ""),
        ("error", told.get("error", "")),
    )
    for name, value in facts:
        if value:
            out.print(Text.assemble((f"  {name:<12}", "dim"), value))


def live_job(job: Job, now: int, width: int, *, with_steps: bool = True) -> RenderableType:
    """A few lines: how far it is, and what came out."""
    told: Job = {**all_printable(job), "result": job.get("result")}
    lines = [_headline(told)]
    if "progress" in told and told["status"] in ("pending", "processing"):
        lines.append(progress_bar(told["progress"], told.get("message", "")))
    if "result" in job:
        lines.append(Text(f"  result {value_of(told['result'])}"))
    if "error" in told:
        lines.append(Text(f"  error {told['error']}"))
    return Group(*lines)


def _headline(job: Job) -> Text:
    return Text.assemble((job["id"], "bold"), "  ", coloured(job["status"]))
