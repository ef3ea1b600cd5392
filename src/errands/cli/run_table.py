"""Runs as a list on a terminal."""

from typing import Any

from errands.cli.output import console, short_time
from errands.cli.run_view import coloured, remark_of, took
from errands.cli.table import print_table
from errands.clock import SystemClock

HEADER = ("RUN", "FUNCTION", "STATUS", "CREATED", "TOOK")


def print_runs(found: list[dict[str, Any]]) -> None:
    now = SystemClock().now()
    if not found:
        console().print("No runs.")
        return
    rows = [
        (
            run["id"],
            f"{run['app']}/{run['function']}",
            coloured(run["status"]),
            short_time(run["createdAt"], now),
            took(run["startedAt"], run["endedAt"], now),
        )
        for run in found
    ]
    # Ids and names are there to be copied.
    print_table(HEADER, rows, kept=HEADER.index("STATUS") + 1, remarks=list(map(remark_of, found)))
