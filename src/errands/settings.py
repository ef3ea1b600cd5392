"""Every setting: name, unit, default, variable. Parsed once, passed down."""

import os
from collections.abc import Mapping

import msgspec

from errands.model.duration import parse_duration
from errands.model.errors import InvalidConfig


class Settings(msgspec.Struct, frozen=True):
    concurrency: int = 100
    """Runs executed at once by a worker process. ERRANDS_CONCURRENCY"""
    threads: int = 32
    """Threads for plain functions, and as many again for plain steps. ERRANDS_THREADS"""
    parked: int = 1_000
    """Suspended coroutines kept in memory; the others are replayed when they wake. ERRANDS_PARKED
    """
    lease_ms: int = 30_000
    """How long a worker may be silent before it is taken for dead. ERRANDS_LEASE"""
    keep_runs_ms: int = 7 * 86_400_000
    """How long finished runs are kept. ERRANDS_KEEP_RUNS"""
    keep_events_ms: int = 7 * 86_400_000
    """How long events are kept whose runs have ended. ERRANDS_KEEP_EVENTS"""
    grace_ms: int = 20_000
    """How long executing runs may go on when a worker is told to stop. ERRANDS_GRACE"""
    value_bytes: int = 256 * 1024
    """Limit of an event, of a job's arguments and of each result, as JSON. ERRANDS_VALUE_BYTES"""


VARIABLES = {
    "concurrency": "ERRANDS_CONCURRENCY",
    "threads": "ERRANDS_THREADS",
    "parked": "ERRANDS_PARKED",
    "lease_ms": "ERRANDS_LEASE",
    "keep_runs_ms": "ERRANDS_KEEP_RUNS",
    "keep_events_ms": "ERRANDS_KEEP_EVENTS",
    "grace_ms": "ERRANDS_GRACE",
    "value_bytes": "ERRANDS_VALUE_BYTES",
}
LEAST = {"concurrency": 1, "threads": 1, "parked": 0, "lease_ms": 300, "value_bytes": 1_024}


def settings_from(environment: Mapping[str, str] = os.environ) -> Settings:
    """The defaults, and what the environment says instead. Raises InvalidConfig."""
    found: dict[str, int] = {}
    for name, variable in VARIABLES.items():
        text = environment.get(variable)
        if text is None:
            continue
        if name.endswith("_ms"):
            found[name] = parse_duration(text, variable)
        else:
            try:
                found[name] = int(text)
            except ValueError:
                raise InvalidConfig(
                    f"{variable}={text!r} is no number.", hint=f"For example {variable}=100."
                ) from None
        if found[name] < LEAST.get(name, 0):
            raise InvalidConfig(
                f"{variable}={text} is too small.", hint=f"The least is {LEAST.get(name, 0)}."
            )
    return Settings(**found)
