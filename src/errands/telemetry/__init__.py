"""What a process tells of itself: metrics, spans, log lines. What nobody asks for costs nothing.

Each part is loaded at its first use: an app that only sends needs none of them.
"""

from typing import TYPE_CHECKING, cast

from errands.model.errors import InvalidConfig

if TYPE_CHECKING:
    from prometheus_client.registry import CollectorRegistry

    from errands.telemetry.counters import Counted, Watched

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
"""Of what `exposition` gives."""


def counted(process: "Watched") -> "Counted":
    """What this process counts; from the first time that somebody asks for it."""
    from errands.telemetry.counters import counted_by

    return counted_by(process)


def exposition(process: "Watched") -> bytes:
    """What Prometheus scrapes, as text. Reads the store: not in an event loop's thread."""
    from prometheus_client.exposition import generate_latest

    return generate_latest(registry(process))


def registry(backend: object) -> "CollectorRegistry":
    """The metrics of this process and no others, to be served in another way.

    backend: `app.backend`. Raises InvalidConfig where that is a server elsewhere.
    """
    from errands.telemetry.metrics import registry_of

    if not hasattr(backend, "on_committed"):
        raise InvalidConfig(
            "This app sends to a server, and so has no metrics of its own.",
            hint="Scrape that server's /metrics.",
        )
    return registry_of(cast("Watched", backend))


__all__ = ["CONTENT_TYPE", "counted", "exposition", "registry"]
