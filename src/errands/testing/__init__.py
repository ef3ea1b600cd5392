"""Run functions in memory: the real engine, a real SQLite store, time that you move."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from errands.testing.harness import Harness as Harness
    from errands.testing.recorded import RecordedRun as RecordedRun
    from errands.testing.recorded import RecordedStep as RecordedStep

__all__ = ["Harness", "RecordedRun", "RecordedStep"]
_HOMES = {
    "Harness": "errands.testing.harness",
    "RecordedRun": "errands.testing.recorded",
    "RecordedStep": "errands.testing.recorded",
}


def __getattr__(name: str) -> Any:
    # At first use: pytest imports this package at its start (the plugin is in it), also where
    # nobody tests with errands, and must not load an engine and a store for that.
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_HOMES[name]), name)
