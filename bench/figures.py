"""The figures: what must be reached, what is aimed at, and how much is done for each."""

from collections.abc import Callable
from typing import Any, TypeAlias

import msgspec

from bench import claim, floor, ingest, light_sender, memory, product, streams

Value: TypeAlias = float | dict[str, float]


class Figure(msgspec.Struct, frozen=True):
    name: str
    unit: str
    measure: Callable[..., Any]
    floor: Callable[..., Any] | None
    must: Value
    aim: Value | None
    reference: Value | None
    """The floor when `must` and `aim` were set, on a quiet machine."""
    n: int
    """Jobs, runs or sleepers of one measurement."""
    quick: int
    """The same for a first impression."""
    prepare: Callable[..., Any] | None = None
    """Makes the store that all measurements of this figure begin with."""
    is_rate: bool = False
    """More is better."""
    runs: int = 3
    """Measurements, of which the median counts. Many short ones where the machine's speed changes
    from second to second: a long one meets another machine than its floor did.
    """


def _pair(p50: float, p99: float) -> dict[str, float]:
    return {"p50": p50, "p99": p99}


# fmt: off
_ALL = [
    Figure("sqlite.jobs", "jobs/s", product.jobs, floor.jobs, 20_000, 50_000, 132_000,
           n=30_000, quick=10_000, is_rate=True, runs=11),
    Figure("sqlite.drain", "jobs/s", product.drain, floor.drain, 20_000, 50_000, 97_000,
           n=100_000, quick=10_000, is_rate=True),
    Figure("sqlite.runs5", "runs/s", product.runs5, floor.runs5, 5_000, 14_000, 28_000,
           n=8_000, quick=2_000, is_rate=True, runs=7),
    Figure("sqlite.runs5_single", "runs/s", product.runs5_single, floor.runs5_single, 400, 650, 800,
           n=1_000, quick=200, is_rate=True),
    Figure("sqlite.latency_ms", "ms", product.latency_ms, floor.latency_ms,
           _pair(1.5, 10), _pair(0.8, 5), _pair(0.5, 4.4), n=200, quick=50),
    Figure("sqlite.claim_ratio", "x", claim.claim_ratio, None, 1.2, None, None,
           n=1_000_000, quick=50_000, prepare=claim.prepare),
    Figure("sqlite.light_sender_ms", "ms", light_sender.measure, None, {"p99": 25}, None, None,
           n=500, quick=100),
    Figure("ingest.single", "events/s", ingest.single, ingest.floor_single, 6_000, 12_000, 30_000,
           n=20_000, quick=3_000, is_rate=True, runs=5),
    Figure("ingest.batch", "events/s", ingest.batch, ingest.floor_batch, 40_000, 100_000, 400_000,
           n=200_000, quick=30_000, is_rate=True, runs=5),
    Figure("timers.lag_ms", "ms", product.lag_ms, floor.lag_ms,
           _pair(3, 15), _pair(1, 8), _pair(0.5, 5.6),
           n=100_000, quick=10_000, prepare=product.prepare_sleepers),
    Figure("memory.idle_mib", "MiB", memory.idle_mib, memory.floor_idle_mib, 60, None, None,
           n=1, quick=1),
    Figure("streams.mib", "MiB", streams.mib, None, 60, None, None, n=1_000, quick=200),
    Figure("streams.slowdown", "x", streams.slowdown, None, 1.1, None, None, n=1_000, quick=200),
    Figure("memory.sleeping_mib", "MiB", memory.sleeping_mib, None, 20, None, None,
           n=100_000, quick=10_000),
]
# fmt: on

FIGURES = {figure.name: figure for figure in _ALL}
