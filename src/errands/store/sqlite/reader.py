"""Reads of committed state, on a connection of their own. Each is short: an old snapshot keeps the
WAL long.
"""

import shutil
import sqlite3
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
from msgspec.structs import replace

from errands.engine.config import Config
from errands.engine.input import FollowUp
from errands.model.event import EVENT_SCOPE, Event
from errands.model.ids import EventId, RunId, WorkerId, id_time
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
from errands.store.queries import Queries
from errands.store.sqlite.turnstile import MAIN, turnstile

_json = msgspec.json.Encoder().encode
_follow_up = msgspec.msgpack.Decoder(FollowUp)
_asked = msgspec.json.Decoder(ExternalJob)
LAST_ID = (1 << 63) - 1
LOOKED_AT_ONCE, LOOKS_MAX = 20_000, 50
"""Events that a search for a name looks at: so many at once, and so often."""
COUNTED = ("run", "item", "ready", "timer", "wait", "inbox", "done", "event", "step")


class SqliteReader:
    """See `store.interface.Reader`. Any thread may call it."""

    def __init__(self, db: sqlite3.Connection, queries: Queries) -> None:
        self._db, self._queries = db, queries
        self._lock = threading.Lock()
        self._config = Config(-1)

    def close(self) -> None:
        self._db.close()

    def pause(self) -> None:
        """Close the connection, and let nobody read."""
        self._lock.acquire()
        self._db.close()

    def resume(self, db: sqlite3.Connection | None) -> None:
        if db is not None:
            self._db = db
        self._lock.release()

    def _all(self, text: str, parameters: Any = ()) -> list[rows.Row]:
        with self._lock:
            return self._db.execute(text, parameters).fetchall()

    def _named(self, name: str, *parameters: Any) -> list[rows.Row]:
        return self._all(self._queries[name], parameters)

    def key(self) -> bytes:
        return bytes(self._named("load_meta", "key")[0][0])

    def config(self) -> Config:
        """As registered now; the same object for as long as nothing changes."""
        version = int(self._named("load_meta", "config_version")[0][0])
        if version != self._config.version:
            functions = [rows.to_function(row) for row in self._named("list_functions")]
            shapes = [rows.to_shape(row) for row in self._named("list_shapes")]
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
        text = self._queries["list_runs"].replace("{filters}", condition)
        return [_run_row(row, config) for row in self._all(text, parameters)]

    def stamps(self, ids: Sequence[RunId]) -> dict[RunId, tuple[Any, ...]]:
        return {row[0]: row[1:] for row in self._named("load_stamps", _json(ids))}

    def done(self, ids: Sequence[RunId]) -> list[Done]:
        return [rows.to_done(row) for row in self._named("load_done", _json(ids))]

    def inputs(self, ids: Sequence[RunId]) -> list[Run]:
        return [Run(*row) for row in self._named("load_runs", _json(ids))]

    def events(self, ids: Sequence[EventId]) -> list[Event]:
        return [Event(*row) for row in self._named("load_events", _json(ids))]

    def list_events(self, filter: EventFilter) -> list[Event]:
        before = LAST_ID if filter.before is None else filter.before
        if filter.name is not None:
            return self._list_events_named(filter.name, before, filter.limit)
        asked = {"before": before, "limit": filter.limit}
        return [Event(*row) for row in self._all(self._queries["list_events"], asked)]

    def _list_events_named(self, name: str, before: int, limit: int) -> list[Event]:
        """In short looks, one after the other: between them others may read."""
        found: list[Event] = []
        for _ in range(LOOKS_MAX):
            piece = {"before": before, "skipped": LOOKED_AT_ONCE - 1}
            last = self._all(self._queries["find_event_behind"], piece)
            asked = {"name": name, "before": before, "limit": limit - len(found)}
            asked["first"] = before = last[0][0] if last else 0
            rows = self._all(self._queries["list_events_named"], asked)
            found += [Event(*row) for row in rows]
            if len(found) >= limit or not last:
                break
        return found

    def runs_of_event(self, id: EventId) -> list[RunRow]:
        rows = self._list_runs("run.event = :event", {"event": id, "limit": -1}, self.config())
        return rows[::-1]

    def external_job(self, key: str, now: int) -> RunId | None:
        found = self._named("find_key", KEY_SCOPE, key, now)
        return RunId(found[0][0]) if found else None

    def event_of_key(self, key: str, now: int) -> EventId | None:
        found = self._named("find_key", EVENT_SCOPE, key, now)
        return EventId(found[0][0]) if found else None

    def labels(self, id: RunId) -> list[str]:
        return [label for label, _ in self._named("list_labels", id)]

    def steps(self, id: RunId) -> list[Step]:
        return [rows.to_step(row) for row in self._named("list_steps", id)]

    def memo(self, id: RunId, seq: int) -> list[Step]:
        return [rows.to_step(row) for row in self._named("load_memo", id, seq)]

    def history(self, id: RunId) -> list[Record]:
        return [rows.to_record(row) for row in self._named("list_history", id)]

    def logs(self, id: RunId, after: int, limit: int) -> list[LogLine]:
        return [LogLine(*row) for row in self._named("list_logs", id, after, limit)]

    # -- what is to be done --------------------------------------------------------------------

    def inbox(self, worker: WorkerId, after: int, limit: int) -> list[FollowUp]:
        return self.follow_ups([id for id, _ in self.inbox_rows(worker, after, limit)])

    def inbox_rows(self, worker: WorkerId, after: int, limit: int) -> list[tuple[int, int]]:
        asked = {"worker": worker, "after": after, "tries": TRIES_MAX, "limit": limit}
        return [(id, size) for id, size in self._all(self._queries["list_inbox"], asked)]

    def follow_ups(self, inbox: Sequence[int]) -> list[FollowUp]:
        return [
            replace(_follow_up.decode(body), inbox=id)
            for id, body in self._named("load_follow_ups", _json(inbox))
        ]

    def next_timer(self) -> int | None:
        found = self._named("next_timer")
        return int(found[0][0]) if found else None

    def due_timers(self, now: int, limit: int) -> list[Timer]:
        return [rows.to_timer(row) for row in self._named("list_due_timers", now, limit)]

    def workers(self) -> list[Worker]:
        return [rows.to_worker(row) for row in self._named("list_workers")]

    def lanes(self) -> list[int]:
        return [int(lane) for (lane,) in self._named("load_lanes")]

    # -- for doctor ----------------------------------------------------------------------------

    def ready(self) -> list[ReadyLane]:
        return [
            ReadyLane(lane, count, id_time(first))
            for lane, count, first in self._named("count_ready")
        ]

    def held(self) -> dict[WorkerId, int]:
        return dict(self._named("count_held_items"))

    def inbox_since(self) -> int | None:
        found = self._named("oldest_inbox")
        return id_time(found[0][0]) if found else None

    def writer(self) -> int | None:
        return turnstile(self._path()).pid_at(MAIN)

    def facts(self) -> StoreFacts:
        path = self._path()
        wal = path.with_name(path.name + "-wal")
        return StoreFacts(
            path=str(path),
            engine=f"SQLite {sqlite3.sqlite_version}",
            size_bytes=path.stat().st_size,
            wal_bytes=wal.stat().st_size if wal.exists() else 0,
            free_bytes=shutil.disk_usage(path.parent).free,
        )

    def _path(self) -> Path:
        return Path(self._all("PRAGMA database_list")[0][2])

    # -- retention -----------------------------------------------------------------------------

    def expired_runs(self, now: int, before: RunId, limit: int) -> list[RunId]:
        asked = {"now": now, "before": before, "limit": limit}
        found = self._all(self._queries["list_expired_runs"], asked)
        found += self._all(self._queries["list_expired_jobs"], {"now": now, "limit": limit})
        return list(dict.fromkeys(run for (run,) in found))[:limit]

    def expired_events(self, after: EventId, before: EventId, limit: int) -> list[EventId]:
        asked = {"after": after, "before": before, "limit": limit}
        return [event for (event,) in self._all(self._queries["list_expired_events"], asked)]

    def has_expired_dedup(self, now: int) -> bool:
        return bool(self._named("first_expired_dedup", now))

    def counts(self) -> dict[str, int]:
        return {table: int(self._all(f"SELECT count(*) FROM {table}")[0][0]) for table in COUNTED}


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
