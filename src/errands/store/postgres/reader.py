"""Reads of committed state, each on a connection of the pool and in a transaction of its own."""

import re
import threading
from collections.abc import Sequence
from typing import Any

import msgspec
import psycopg
from msgspec.structs import replace

from errands.engine.config import Config
from errands.engine.input import FollowUp
from errands.model.event import EVENT_SCOPE, Event
from errands.model.ids import EventId, RunId, WorkerId, id_time
from errands.model.item import Urgency
from errands.model.job import KEY_SCOPE, ExternalJob, JobState
from errands.model.run import Done, LogLine, Record, Run, RunStatus
from errands.model.step import Step
from errands.model.timer import Timer
from errands.model.worker import Worker
from errands.store import rows
from errands.store.filters import run_filters
from errands.store.interface import (
    TRIES_MAX,
    EventFilter,
    ReadyLane,
    RunFilter,
    RunRow,
    StoreFacts,
)
from errands.store.postgres.arrays import columns, ints
from errands.store.postgres.connection import Address, Pool
from errands.store.postgres.errors import translated
from errands.store.postgres.heads import FIRST, Heads
from errands.store.postgres.queries import Statements

_follow_up = msgspec.msgpack.Decoder(FollowUp)
_asked = msgspec.json.Decoder(ExternalJob)
LAST_ID = (1 << 63) - 1
LOOKED_AT_ONCE, LOOKS_MAX = 20_000, 50
"""Events that a search for a name looks at: so many at once, and so often."""
COUNTED = ("run", "item", "ready", "timer", "wait", "inbox", "done", "event", "step")
_TABLE = re.compile(r"FROM (label|item|done)\b")
_PARAMETER = re.compile(r":(\w+)")


class PostgresReader:
    """See `store.interface.Reader`. Any thread may call it. Raises StoreUnavailable."""

    def __init__(self, pool: Pool, statements: Statements, heads: Heads, address: Address) -> None:
        self._pool, self._statements = pool, statements
        self._heads, self._address = heads, address
        self._lock = threading.Lock()
        self._config = Config(-1)

    def _all(self, text: bytes, parameters: Sequence[Any]) -> list[rows.Row]:
        # Once more if the connection at hand was made to a server that has gone since.
        for attempt in (1, 2):
            try:
                with self._pool.connection() as db:
                    return db.execute(text, parameters, binary=True).fetchall()
            except psycopg.OperationalError as error:
                self._pool.drop()
                if attempt == 2:
                    raise translated(error) from error
            except psycopg.Error as error:
                raise translated(error) from error
        raise AssertionError

    def named(self, name: str, *parameters: Any) -> list[rows.Row]:
        return self._all(self._statements[name], parameters)

    def _among(self, name: str, ids: Sequence[int]) -> list[rows.Row]:
        return self.named(name, ints(ids))

    def key(self) -> bytes:
        return bytes(self.named("load_key")[0][0])

    def config(self) -> Config:
        """As registered now; the same object for as long as nothing changes."""
        with self._lock:
            version = int(self.named("load_config_version")[0][0])
            if version != self._config.version:
                # The version first: should more be registered in between, it is loaded again.
                functions = [rows.to_function(row) for row in self.named("list_functions")]
                shapes = [rows.to_shape(row) for row in self.named("list_shapes")]
                self._config = Config(version, functions, shapes)
            return self._config

    # -- runs ----------------------------------------------------------------------------------

    def run(self, id: RunId) -> RunRow | None:
        found = self._list_runs("run.id = :id", {"id": id, "limit": 1}, self.config())
        return found[0] if found else None

    def runs(self, filter: RunFilter) -> list[RunRow]:
        config = self.config()
        condition, parameters = run_filters(filter, config)
        return self._list_runs(condition, parameters, config)

    def _list_runs(
        self, condition: str, parameters: dict[str, Any], config: Config
    ) -> list[RunRow]:
        given: list[Any] = []

        def numbered(name: re.Match[str]) -> str:
            given.append(parameters[name[1]])
            return f"${len(given)}::{'text' if isinstance(given[-1], str) else 'bigint'}"

        condition = _PARAMETER.sub(numbered, condition)
        condition = _TABLE.sub(rf"FROM {self._statements.prefix}\1 AS \1", condition)
        given.append(parameters["limit"])
        text = self._statements.template("list_runs").replace("{filters}", condition)
        text = text.replace("{limit}", f"${len(given)}::bigint")
        return [_run_row(row, config) for row in self._all(text.encode(), given)]

    def stamps(self, ids: Sequence[RunId]) -> dict[RunId, tuple[Any, ...]]:
        return {row[0]: row[1:] for row in self._among("load_stamps", ids)}

    def done(self, ids: Sequence[RunId]) -> list[Done]:
        return [rows.to_done(row) for row in self._among("load_done", ids)]

    def inputs(self, ids: Sequence[RunId]) -> list[Run]:
        return [Run(*row) for row in self._among("load_runs", ids)]

    def events(self, ids: Sequence[EventId]) -> list[Event]:
        return [Event(*row) for row in self._among("load_events", ids)]

    def list_events(self, filter: EventFilter) -> list[Event]:
        before = LAST_ID if filter.before is None else filter.before
        if filter.name is not None:
            return self._list_events_named(filter.name, before, filter.limit)
        return [Event(*row) for row in self.named("list_events", before, filter.limit)]

    def _list_events_named(self, name: str, before: int, limit: int) -> list[Event]:
        """In short looks, one after the other: between them others may read."""
        found: list[Event] = []
        for _ in range(LOOKS_MAX):
            last = self.named("find_event_behind", before, LOOKED_AT_ONCE - 1)
            first = last[0][0] if last else 0
            rows = self.named("list_events_named", before, first, name, limit - len(found))
            before = first
            found += [Event(*row) for row in rows]
            if len(found) >= limit or not last:
                break
        return found

    def runs_of_event(self, id: EventId) -> list[RunRow]:
        rows = self._list_runs("run.event = :event", {"event": id, "limit": None}, self.config())
        return rows[::-1]

    def external_job(self, key: str, now: int) -> RunId | None:
        found = self.named("find_key", KEY_SCOPE, key, now)
        return RunId(found[0][0]) if found else None

    def event_of_key(self, key: str, now: int) -> EventId | None:
        found = self.named("find_key", EVENT_SCOPE, key, now)
        return EventId(found[0][0]) if found else None

    def labels(self, id: RunId) -> list[str]:
        return [label for label, _ in self.named("list_labels", id)]

    def steps(self, id: RunId) -> list[Step]:
        return [rows.to_step(row) for row in self.named("list_steps", id)]

    def memo(self, id: RunId, seq: int) -> list[Step]:
        return [rows.to_step(row) for row in self.named("load_memo", id, seq)]

    def history(self, id: RunId) -> list[Record]:
        return [rows.to_record(row) for row in self.named("list_history", id)]

    def logs(self, id: RunId, after: int, limit: int) -> list[LogLine]:
        return [LogLine(*row) for row in self.named("list_logs", id, after, limit)]

    # -- what is to be done --------------------------------------------------------------------

    def inbox(self, worker: WorkerId, after: int, limit: int) -> list[FollowUp]:
        return self.follow_ups([id for id, _ in self.inbox_rows(worker, after, limit)])

    def inbox_rows(self, worker: WorkerId, after: int, limit: int) -> list[tuple[int, int]]:
        found = self.named("list_inbox", worker, after, TRIES_MAX, limit)
        return [(id, size) for id, size in found]

    def follow_ups(self, inbox: Sequence[int]) -> list[FollowUp]:
        return [
            replace(_follow_up.decode(body), inbox=id)
            for id, body in self._among("load_follow_ups", inbox)
        ]

    def next_timer(self) -> int | None:
        found = self.named("next_timer")
        return int(found[0][0]) if found else None

    def due_timers(self, now: int, limit: int) -> list[Timer]:
        return [rows.to_timer(row) for row in self.named("list_due_timers", now, limit)]

    def workers(self) -> list[Worker]:
        return [rows.to_worker(row) for row in self.named("list_workers")]

    def lanes(self) -> list[int]:
        whole = self._heads.is_whole("lanes")
        asked = [
            (lane, int(urgency), FIRST if whole else self._heads.after(lane, urgency))
            for lane in self.config().functions
            for urgency in Urgency
        ]
        found = self.named("list_heads", *columns(self._statements.kinds["list_heads"], asked))
        self._heads.fell_short("lanes", is_whole=whole)
        for lane, urgency, position in found:
            self._heads.found(lane, urgency, position)
        return list(dict.fromkeys(lane for lane, _, _ in found))

    # -- for doctor ----------------------------------------------------------------------------

    def ready(self) -> list[ReadyLane]:
        return [
            ReadyLane(lane, count, id_time(first))
            for lane, count, first in self.named("count_ready")
        ]

    def held(self) -> dict[WorkerId, int]:
        return dict(self.named("count_held_items"))

    def inbox_since(self) -> int | None:
        found = self.named("oldest_inbox")
        return id_time(found[0][0]) if found else None

    def writer(self) -> int | None:
        return None  # nobody keeps others from writing

    def facts(self) -> StoreFacts:
        size, version = self.named("size", self._address.schema)[0]
        return StoreFacts(
            path=f"schema {self._address.schema} of {self._address.shown}",
            engine=" ".join(str(version).split()[:2]),
            size_bytes=size,
            wal_bytes=0,
            free_bytes=None,
        )

    # -- retention -----------------------------------------------------------------------------

    def expired_runs(self, now: int, before: RunId, limit: int) -> list[RunId]:
        found = self.named("list_expired_runs", before, now, limit)
        found += self.named("list_expired_jobs", now, limit)
        return list(dict.fromkeys(RunId(run) for (run,) in found))[:limit]

    def expired_events(self, after: EventId, before: EventId, limit: int) -> list[EventId]:
        return [event for (event,) in self.named("list_expired_events", after, before, limit)]

    def has_expired_dedup(self, now: int) -> bool:
        return bool(self.named("first_expired_dedup", now))

    def counts(self) -> dict[str, int]:
        prefix = self._statements.prefix
        text = "SELECT " + ", ".join(f"(SELECT count(*) FROM {prefix}{name})" for name in COUNTED)
        return dict(zip(COUNTED, self._all(text.encode(), ())[0], strict=True))


def _run_row(row: rows.Row, config: Config) -> RunRow:
    (id, function, event, parent, place, updated_at, started_at, attempt, due, status, ended_at,
     done_started, output, percent, note, progressed_at, asked) = row  # fmt: skip
    state: JobState
    if status is not None:
        state = "completed" if status == RunStatus.COMPLETED else "failed"
    else:
        # A run that is to begin later, or has not begun, is pending; also one whose item is still
        # to be made.
        state = "pending" if place is None or started_at is None else "processing"
    return RunRow(
        id=id,
        function=config.functions[function],
        status=state,
        created_at=id_time(id),
        updated_at=ended_at or max(updated_at or id_time(id), progressed_at or 0),
        started_at=started_at if status is None else done_started,
        ended_at=ended_at,
        is_cancelled=status == RunStatus.CANCELLED,
        is_parked=place == rows.Place.PARKED,
        attempt=attempt or 0,
        due=due,
        event=event,
        parent=parent,
        output=output,
        percent=percent,
        note=note,
        key=None if asked is None else _asked.decode(asked).key,
    )
