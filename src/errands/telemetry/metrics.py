"""The metrics of a process for Prometheus: what it has counted, and what the store says now."""

import logging
import threading
import time
import weakref
from collections.abc import Iterable, Iterator, Mapping

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector, CollectorRegistry

from errands.model.function import Function
from errands.model.ids import FunctionId
from errands.model.run import RunStatus
from errands.model.step import StepStatus
from errands.telemetry.counters import Counted, Histogram, Reader, Watched, counted_by

log = logging.getLogger("errands.telemetry")
ATTEMPTS = {
    StepStatus.COMPLETED: "completed",
    StepStatus.FAILED: "failed",
    StepStatus.RETRYING: "retried",
}
LONG_SECONDS, SHARE = 0.05, 20
"""Reading the store for longer is done for no more than this part of the time: a million runs that
stand ready are counted in a quarter of a second, while others wait to read.
"""
_registries: "weakref.WeakKeyDictionary[Watched, CollectorRegistry]" = weakref.WeakKeyDictionary()


def registry_of(process: Watched) -> CollectorRegistry:
    """One a process, so that two in the same program do not mix."""
    found = _registries.get(process)
    if found is None:
        found = _registries[process] = CollectorRegistry()
        found.register(Metrics(process))
        ProcessCollector(registry=found)
    return found


class Metrics(Collector):
    def __init__(self, process: Watched) -> None:
        # Weakly: the registry is kept for as long as the process is, and no longer.
        self._process = weakref.ref(process)
        self._counted = counted_by(process)
        self._functions: Mapping[FunctionId, Function] = {}
        self._stored: list[Metric] = []
        """What the store said when it was last read."""
        self._read_again_at = 0.0
        self._lock = threading.Lock()

    def describe(self) -> Iterable[Metric]:
        """Nothing is read to register it."""
        return ()

    def collect(self) -> Iterator[Metric]:
        process = self._process()
        if process is None or not process.is_connected:
            return
        with self._lock:
            if time.monotonic() >= self._read_again_at:
                self._read(process)
        yield from self._stored
        yield from _runs(self._counted, self._functions)
        yield from _here(process, self._counted)
        yield from _requests(self._counted)

    def _read(self, process: Watched) -> None:
        """Ask the store; seldom if that takes long, whoever scrapes how often."""
        begun_at = time.monotonic()
        try:
            reader: Reader = process.store.reader
            self._functions = reader.config().functions
            stored = list(_stored(reader, self._functions, process.clock.now()))
        except Exception as error:
            # What is counted here is told all the same, and now more than ever.
            log.warning("the store cannot be read for its metrics: %s", error)
            stored = None
        is_readable = stored is not None
        readable = _gauge("errands_store_readable", "1 if the store could be read.", is_readable)
        self._stored = [readable, *(stored or ())]
        now = time.monotonic()
        if now - begun_at > LONG_SECONDS:
            self._read_again_at = now + SHARE * (now - begun_at)


def _gauge(name: str, what: str, value: float) -> GaugeMetricFamily:
    return GaugeMetricFamily(name, what, value=value)


def _name(id: int, functions: Mapping[FunctionId, Function]) -> str:
    found = functions.get(FunctionId(id))
    return f"{found.app}/{found.config.slug}" if found is not None else "unknown"


def _histogram(
    name: str, what: str, labels: Iterable[str], cells: Iterable[tuple[list[str], Histogram]]
) -> HistogramMetricFamily:
    family = HistogramMetricFamily(name, what, labels=list(labels))
    for values, cell in cells:
        total, buckets = 0, list[tuple[str, float]]()
        # Of a copy: it may be added to meanwhile.
        for bound, count in zip([*map(float, cell.bounds), "+Inf"], list(cell.counts), strict=True):
            total += count
            buckets.append((str(bound), total))
        family.add_metric(values, buckets, cell.sum)
    return family


# -- what the store says -------------------------------------------------------------------------


def _stored(reader: Reader, functions: Mapping[FunctionId, Function], now: int) -> Iterator[Metric]:
    """Of all processes together: each that is asked says the same."""
    depth = GaugeMetricFamily(
        "errands_queue_depth", "Runs that are due and wait for a worker.", labels=["function"]
    )
    age = GaugeMetricFamily(
        "errands_queue_oldest_age_seconds",
        "How long the first of them has waited.",
        labels=["function"],
    )
    ready = {lane.lane: lane for lane in reader.ready()}
    for id, function in functions.items():
        lane = ready.get(id)
        if lane is None and function.retired:
            continue
        depth.add_metric([_name(id, functions)], 0 if lane is None else lane.count)
        age.add_metric([_name(id, functions)], 0 if lane is None else _seconds(now, lane.since))
    yield depth
    yield age
    yield _gauge(
        "errands_schedule_lag_seconds",
        "How late the first timer is that is due: a sleep, a delay, a timeout, a retry.",
        _seconds(now, reader.next_timer()),
    )
    yield _gauge(
        "errands_inbox_oldest_age_seconds",
        "How long the first effect of one run on another has waited to be decided.",
        _seconds(now, reader.inbox_since()),
    )
    workers = [worker for worker in reader.workers() if worker.concurrency]
    yield _gauge("errands_workers", "Processes that execute runs.", len(workers))
    yield _gauge(
        "errands_workers_concurrency",
        "Runs that they execute at once, at most.",
        sum(worker.concurrency for worker in workers),
    )
    yield _gauge("errands_runs_executing", "Runs that they execute.", sum(reader.held().values()))
    yield from _disk(reader)


def _disk(reader: Reader) -> Iterator[Metric]:
    facts = reader.facts()
    yield _gauge("errands_store_size_bytes", "The store on disk.", facts.size_bytes)
    yield _gauge("errands_store_wal_bytes", "Its write-ahead log.", facts.wal_bytes)
    if facts.free_bytes is not None:
        yield _gauge("errands_store_free_bytes", "Left on its disk.", facts.free_bytes)


def _seconds(now: int, since: int | None) -> float:
    return 0.0 if since is None else max(0, now - since) / 1000


# -- what this process has counted ---------------------------------------------------------------


def _runs(counted: Counted, functions: Mapping[FunctionId, Function]) -> Iterator[Metric]:
    created = CounterMetricFamily(
        "errands_runs_created", "Runs that were made here.", labels=["function"]
    )
    for id, count in list(counted.created.items()):
        created.add_metric([_name(id, functions)], count)
    yield created
    ended = CounterMetricFamily(
        "errands_runs", "Runs whose end was decided here.", labels=["function", "status"]
    )
    for (id, status), count in list(counted.ended.items()):
        ended.add_metric([_name(id, functions), RunStatus(status).name.lower()], count)
    yield ended
    yield _histogram(
        "errands_run_duration_seconds",
        "From when a run began to its end, with all that it waited for.",
        ["function"],
        [([_name(id, functions)], cell) for id, cell in list(counted.run_seconds.items())],
    )
    yield _histogram(
        "errands_step_duration_seconds",
        "Attempts of steps, each until it was durable.",
        ["function", "status"],
        [
            ([_name(id, functions), ATTEMPTS.get(status, "other")], cell)
            for (id, status), cell in list(counted.step_seconds.items())
        ],
    )


def _here(process: Watched, counted: Counted) -> Iterator[Metric]:
    committer = process.committer
    rows, size = committer.waiting
    yield _gauge("errands_committer_queue_rows", "Waiting to be written, about.", rows)
    yield _gauge("errands_committer_queue_bytes", "Waiting to be written, about.", size)
    yield _gauge(
        "errands_committer_broken",
        "1 if nothing can be committed any more: restart this process.",
        int(committer.broken is not None),
    )
    yield _histogram(
        "errands_commit_batch_inputs",
        "What was decided in one transaction.",
        (),
        [([], counted.batch_inputs)],
    )
    yield _histogram(
        "errands_commit_duration_seconds",
        "From deciding a batch to its being on disk.",
        (),
        [([], counted.commit_seconds)],
    )
    yield _gauge("errands_leases", "Runs that this process executes.", len(committer.leases))
    yield _gauge(
        "errands_concurrency", "Runs that it executes at once, at most.", committer.concurrency
    )
    dispatcher = process.dispatcher
    yield _gauge(
        "errands_runs_parked",
        "Runs that wait, with their coroutine in this process's memory.",
        0 if dispatcher is None else dispatcher.runner.parked_count,
    )
    streams = counted.open_streams
    yield _gauge(
        "errands_open_streams",
        "Clients that follow jobs live.",
        0 if streams is None else streams(),
    )


def _requests(counted: Counted) -> Iterator[Metric]:
    requests = CounterMetricFamily(
        "errands_http_requests",
        "Requests that the API has answered.",
        labels=["method", "route", "status_class"],
    )
    for (method, route, status), count in list(counted.requests.items()):
        requests.add_metric([method, route, f"{status}xx"], count)
    yield requests
    yield _histogram(
        "errands_http_request_duration_seconds",
        "Until the answer began to be sent.",
        ["method", "route"],
        [
            ([method, route], cell)
            for (method, route), cell in list(counted.request_seconds.items())
        ],
    )
