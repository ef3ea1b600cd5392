"""Where the committer's time goes, stage by stage: measured by wrapping functions from outside."""

import functools
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from errands.embedded import Embedded
from errands.executors import committer
from errands.store import cycle
from errands.store.sqlite.store import SqliteStore, SqliteTransaction
from errands.store.sqlite.turnstile import Turnstile

# (where, name, what it is called here). Outer stages contain the inner ones, which are indented.
STAGES: list[tuple[Any, str, str]] = [
    (committer.Committer, "step", "step"),
    (committer.Committer, "_take", "  take"),
    (committer, "run_cycle", "  cycle"),
    (cycle, "_prepare", "    prepare"),
    (Turnstile, "enter", "    wait for the turn"),
    (SqliteStore, "_execute_alone", "    begin, commit"),
    (cycle, "needs", "    needs"),
    (SqliteTransaction, "load", "    load"),
    (cycle, "_decide", "    decide"),
    (cycle, "decide", "      rules"),
    (SqliteTransaction, "apply", "    apply"),
    (SqliteTransaction, "_many", "      statements"),
    (committer.Committer, "_committed", "  committed"),
    (Embedded, "deliver", "    deliver"),
]


class Stages:
    """Wall and CPU seconds of each stage, in the committer's thread."""

    def __init__(self) -> None:
        self.wall: dict[str, float] = {}
        self.cpu: dict[str, float] = {}
        self.batches = self.inputs = 0

    def wrapped(self, function: Callable[..., Any], stage: str) -> Callable[..., Any]:
        wall, cpu = self.wall, self.cpu
        wall[stage] = cpu[stage] = 0.0
        clock, thread_clock = time.perf_counter, time.thread_time

        @functools.wraps(function)
        def timed(*args: Any, **kwargs: Any) -> Any:
            started, worked = clock(), thread_clock()
            try:
                return function(*args, **kwargs)
            finally:
                wall[stage] += clock() - started
                cpu[stage] += thread_clock() - worked

        return timed

    def counted(self, function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def run_cycle(store: Any, entries: Any, *args: Any) -> Any:
            self.batches += 1
            self.inputs += len(entries)
            return function(store, entries, *args)

        return run_cycle

    def table(self) -> str:
        lines = [
            f"{self.inputs:,} inputs in {self.batches:,} batches "
            f"({self.inputs / max(self.batches, 1):.0f} each); µs an input:",
            f"{'stage':<24}{'wall':>9}{'CPU':>9}",
        ]
        per = 1e6 / max(self.inputs, 1)
        lines += [
            f"{stage:<24}{self.wall[stage] * per:>9.2f}{self.cpu[stage] * per:>9.2f}"
            for _, _, stage in STAGES
            if stage in self.wall
        ]
        return "\n".join(lines)


@contextmanager
def watched() -> Iterator[Stages]:
    """Time every stage while the block runs. What a version does not have is left out."""
    stages = Stages()
    before: list[tuple[Any, str, Any]] = []
    for place, name, stage in STAGES:
        function = getattr(place, name, None)
        if function is None:
            continue
        before.append((place, name, function))
        wrapped = stages.wrapped(function, stage)
        setattr(place, name, stages.counted(wrapped) if name == "run_cycle" else wrapped)
    try:
        yield stages
    finally:
        for place, name, function in before:
            setattr(place, name, function)
