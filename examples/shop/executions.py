"""A line for each execution of a step, so that the demo can prove that none was repeated.

The shop itself has no use for it: errands keeps its own history (`errands runs show ID`).
"""

import os
import time
from pathlib import Path

import msgspec

from errands import NotInRun, current_run
from examples.shop import settings


class Execution(msgspec.Struct, frozen=True):
    run_id: str
    step_id: str
    attempt: int
    pid: int
    started_at: int
    """Unix milliseconds."""


def log_file() -> Path:
    return settings.DATA / "executions.jsonl"


def record_execution() -> None:
    """Note that the current step begins to execute; outside a run there is nothing to note."""
    try:
        run = current_run()
    except NotInRun:
        return
    assert run.step_id is not None
    now = time.time_ns() // 1_000_000
    line = (
        msgspec.json.encode(Execution(run.id, run.step_id, run.attempt, os.getpid(), now)) + b"\n"
    )
    # One write, appending: lines of threads and processes do not mix, and a kill loses none.
    file = os.open(log_file(), os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    try:
        os.write(file, line)
    finally:
        os.close(file)


def executions() -> list[Execution]:
    """All executions so far, in order of their start."""
    if not log_file().exists():
        return []
    return [
        msgspec.json.decode(line, type=Execution) for line in log_file().read_bytes().splitlines()
    ]
