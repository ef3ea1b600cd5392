"""The SQLite store: loads what a batch needs, applies what it decided."""

import secrets
import sqlite3
import threading
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import Any

import msgspec
from msgspec.structs import replace

from errands.engine.config import Config
from errands.engine.decide import Needs
from errands.engine.liveness import STRIKES
from errands.engine.state import PAGE, State
from errands.engine.transition import Trimmed
from errands.model.errors import MigrationNeeded, StoreError
from errands.model.ids import NODES, RunId, WorkerId
from errands.model.item import Place, Urgency
from errands.model.worker import WorkerState
from errands.store import migrate, rows
from errands.store.interface import Ear, StoreConflict, StoreUnavailable, Topic
from errands.store.queries import Queries
from errands.store.sqlite import fork
from errands.store.sqlite.connection import check_folder, connect
from errands.store.sqlite.reader import SqliteReader
from errands.store.sqlite.turnstile import turnstile
from errands.store.sqlite.wake import Bells

PACKAGE = "errands.store.sqlite"
LEDGER = (
    "CREATE TABLE IF NOT EXISTS "
    "migration(number INTEGER PRIMARY KEY, name TEXT, checksum TEXT, at TEXT)"
)
TRIM_ROWS = 5_000
"""Steps, history and log lines that one transaction of retention removes at most."""
UNAVAILABLE = frozenset(
    (
        sqlite3.SQLITE_BUSY,
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_LOCKED,
        sqlite3.SQLITE_NOMEM,
        sqlite3.SQLITE_PROTOCOL,
        sqlite3.SQLITE_READONLY,
    )
)
"""What may pass by itself, or when somebody looks after disk and file. All else is about the batch:
a value too large, an integer that overflows.
"""
WRITER_CACHE_KIB, READER_CACHE_KIB = 8_192, 2_048
SIZES = (256, 64, 16, 4, 1)
"""Rows of one statement: few texts, so that all stay prepared."""
_json = msgspec.json.Encoder().encode
_body = msgspec.msgpack.Encoder().encode


class SqliteStore:
    """One file. One thread writes at a time; processes take turns at the turnstile."""

    def __init__(self, path: Path, *, may_migrate: bool = True, is_durable: bool = True) -> None:
        check_folder(path)
        self.path = path.resolve()
        self.turnstile = turnstile(self.path)
        self.queries = Queries(PACKAGE)
        self._is_durable = is_durable
        self._db = self._connect(WRITER_CACHE_KIB)
        try:
            self._migrate(may_migrate)
        except BaseException:
            self._db.close()
            raise
        self.reader = SqliteReader(self._connect(), self.queries)
        self._watch = self._connect()
        self._watch_lock = threading.Lock()
        self._bells = Bells(self.path)
        self._is_open = True
        self._forks = 0
        """Each time the connections are new ones, which count their versions anew."""
        fork.opened(self)
        self._seen = [0]
        """The version of the file when its writer last looked."""

    # -- transactions --------------------------------------------------------------------------

    @contextmanager
    def transaction(self) -> Generator["SqliteTransaction"]:
        self.turnstile.enter()
        try:
            self._execute_alone("BEGIN IMMEDIATE")
            try:
                yield SqliteTransaction(self._db, self.queries, self._seen, self.is_node_dead)
                self._execute_alone("COMMIT")
            except BaseException:
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
                raise
        except sqlite3.Error as error:
            # The low byte; above it stands which kind of it.
            if getattr(error, "sqlite_errorcode", 0) & 0xFF in UNAVAILABLE:
                raise StoreUnavailable(str(error)) from error
            raise StoreConflict(f"{type(error).__name__}: {error}") from error
        except OverflowError as error:
            raise StoreConflict(str(error)) from error
        finally:
            self.turnstile.leave()

    def _execute_alone(self, statement: str) -> None:
        self._db.execute(statement)

    def _migrate(self, may: bool) -> None:
        if not may:
            # No turn is taken: who only looks must not wait for a writer that stands still.
            if left := self._migrations_left():
                names = ", ".join(m.name for m in left)
                raise MigrationNeeded(
                    f"{self.path} lacks {names}.", hint="Run `errands migrate` once."
                )
            return
        self.turnstile.enter()
        try:
            self._db.execute(LEDGER)
            for migration in self._migrations_left():
                self._apply_migration(migration)
        finally:
            self.turnstile.leave()

    def _migrations_left(self) -> list[migrate.Migration]:
        try:
            applied = dict(
                self._db.execute("SELECT number, checksum FROM migration ORDER BY number")
            )
        except sqlite3.OperationalError:
            applied = {}
        try:
            return migrate.pending(migrate.migrations_of(PACKAGE), applied)
        except ValueError as error:
            raise StoreError(
                f"{self.path}: {error}.",
                hint="Use the version of errands that wrote it, or a newer one.",
            ) from error

    def _apply_migration(self, migration: migrate.Migration) -> None:
        db = self._db
        db.execute("BEGIN IMMEDIATE")
        try:
            for statement in _statements(migration.sql):
                db.execute(statement)
            if migration.number == 1:
                db.execute(
                    "INSERT INTO meta(name, value) VALUES ('config_version', 1), ('last_wait', 0)"
                )
                db.execute(
                    "INSERT INTO meta(name, value) VALUES ('key', ?)", (secrets.token_bytes(32),)
                )
            db.execute(
                "INSERT INTO migration(number, name, checksum, at) "
                "VALUES (?, ?, ?, datetime('now'))",
                (migration.number, migration.name, migration.checksum),
            )
            db.execute("COMMIT")
        except sqlite3.Error as error:
            raise StoreError(
                f"{self.path}: {migration.name} cannot be applied: {error}.",
                hint="If a table exists already, it is somebody else's: give errands a file of "
                "its own.",
            ) from error
        finally:
            if db.in_transaction:
                db.execute("ROLLBACK")

    # -- other processes -----------------------------------------------------------------------

    def hold_node(self, node: int) -> None:
        self.turnstile.hold_node(node)

    def drop_node(self, node: int) -> None:
        self.turnstile.drop_node(node)

    def is_node_dead(self, node: int) -> bool:
        return self.turnstile.is_node_dead(node)

    def version(self) -> int:
        with self._watch_lock:
            version = int(self._watch.execute("PRAGMA data_version").fetchone()[0])
            return self._forks << 40 | version

    def ring(self, topic: Topic) -> None:
        self._bells.ring(topic)

    def listen(self, topic: Topic) -> Ear | None:
        return self._bells.listen(topic)

    # -- its end, and forks --------------------------------------------------------------------

    def _connect(self, cache_kib: int = READER_CACHE_KIB) -> sqlite3.Connection:
        return connect(self.path, is_durable=self._is_durable, cache_kib=cache_kib)

    def close(self) -> None:
        self._is_open = False
        for db in (self._db, self._watch):
            db.close()
        self.reader.close()
        self._bells.close()

    def before_fork(self) -> None:
        """Close the connections, while nobody uses them: nobody is in a transaction now."""
        self._watch_lock.acquire()
        self._db.close()
        self._watch.close()
        self.reader.pause()

    def after_fork(self, *, is_child: bool) -> None:
        """The child's store stays closed: it opens one of its own."""
        is_wanted = self._is_open and not is_child
        if is_wanted:
            self._db, self._watch = self._connect(WRITER_CACHE_KIB), self._connect()
            self._seen[0] = 0
            self._forks += 1
        self.reader.resume(self._connect() if is_wanted else None)
        self._watch_lock.release()


def _statements(sql: str) -> Iterator[str]:
    text = ""
    for line in sql.splitlines(keepends=True):
        text += line
        if sqlite3.complete_statement(text):
            yield text
            text = ""


class SqliteTransaction:
    """See `store.interface.Transaction`."""

    def __init__(
        self,
        db: sqlite3.Connection,
        queries: Queries,
        seen: list[int],
        is_node_dead: Callable[[int], bool],
    ) -> None:
        self._db, self._queries, self._seen = db, queries, seen
        self._is_node_dead = is_node_dead
        self._last_wait = 0
        """As it was loaded."""

    def changed_elsewhere(self) -> bool:
        # Inside the write transaction, so that nobody can come between looking and deciding.
        before, self._seen[0] = self._seen[0], self._db.execute("PRAGMA data_version").fetchone()[0]
        return before != self._seen[0]

    def _all(self, name: str, *parameters: Any) -> list[rows.Row]:
        return self._db.execute(self._queries[name], parameters).fetchall()

    def _many(self, name: str, values: Sequence[rows.Row]) -> list[rows.Row]:
        """One statement for many rows: one a row would hand the GIL over and back each time."""
        found: list[rows.Row] = []
        at, left = 0, len(values)
        for size in SIZES:
            while left >= size:
                chunk = values[at : at + size]
                text = self._queries.rows(name, size)
                found += self._db.execute(text, tuple(chain.from_iterable(chunk))).fetchall()
                at, left = at + size, left - size
        return found

    # -- configuration -------------------------------------------------------------------------

    def hold_config(self) -> bool:
        return True

    def config_version(self) -> int:
        return int(self._all("load_meta", "config_version")[0][0])

    def load_config(self) -> Config:
        functions = [rows.to_function(row) for row in self._all("list_functions")]
        shapes = [rows.to_shape(row) for row in self._all("list_shapes")]
        return Config(self.config_version(), functions, shapes)

    def is_alive(self, worker: WorkerId) -> bool:
        found = self._all("load_worker_state", worker)
        return bool(found) and found[0][0] == WorkerState.ALIVE

    def free_node(self) -> int:
        workers = [rows.to_worker(row) for row in self._all("list_workers")]
        taken = {worker.node for worker in workers}
        last = self._db.execute("SELECT node FROM worker ORDER BY id DESC LIMIT 1").fetchone()
        start = 0 if last is None else last[0] + 1
        for n in range(NODES):
            node = (start + n) % NODES
            # Somebody taken for dead still holds its node, until it comes to its senses.
            if node not in taken and self._is_node_dead(node):
                return node
        raise StoreError(
            f"{NODES} processes use this store already.",
            hint="End some: `errands doctor` shows who uses it.",
        )

    def count_try(self, inbox: int) -> int:
        found = self._all("count_try", inbox)
        return int(found[0][0]) if found else 0

    # -- load ----------------------------------------------------------------------------------

    def load(self, needs: Needs, state: State) -> Needs | None:
        # Not only for those who register waits: events are told what came before them.
        state.last_wait = self._last_wait = int(self._all("load_meta", "last_wait")[0][0])
        self._load_events(needs, state)
        self._load_workers(needs, state)
        self._load_claimable(needs, state)
        if needs.items:
            self._load_items(needs, state)
        self._load_steps(needs, state)
        if needs.runs:
            for row in self._all("load_runs", _json(list(needs.runs))):
                run = rows.Run(*row)
                state.runs[run.id] = run
        if needs.progress:
            for row in self._all("load_progress", _json(list(needs.progress))):
                state.said[row[0]] = rows.Progress(*row)
        if needs.ended:
            for (id,) in self._all("load_ended", _json(list(needs.ended))):
                state.ended[id] = None
        if needs.inbox:
            for (id,) in self._all("load_inbox", _json(list(needs.inbox))):
                state.inbox[id] = None
        for lane in needs.lanes:
            if lane in state.here.serves and (found := self._all("load_busy_lane", lane)):
                state.busy_lanes[lane] = found[0][0]

    def _load_items(self, needs: Needs, state: State) -> None:
        known, now = state.here.known, state.items.now
        unknown: list[RunId] = []
        for run in needs.items:
            item = known.get(run)
            if item is None:
                unknown.append(run)
            else:
                now[run] = item
        if unknown:
            for row in self._all("load_items", _json(unknown)):
                now[row[0]] = item = rows.to_item(row)
                if item.place == Place.RUNNING and item.worker == state.here.worker:
                    known[item.run] = item
                elif item.place == Place.PARKED:
                    # It may be woken: whom would it pass?
                    needs.lanes[item.function] = None

    def _load_events(self, needs: Needs, state: State) -> None:
        if needs.events:
            for row in self._all("load_events", _json(list(needs.events))):
                state.events[row[0]] = rows.Event(*row)
        if needs.dedup:
            for scope, key, ref, expires_at in self._many("load_dedup", list(needs.dedup)):
                state.dedup.now[scope, key] = (ref, expires_at)
        for match in needs.waits:
            self._load_waits(match, RunId(0), "", state)
        for match, run, step in needs.waits_after:
            self._load_waits(match, run, step, state)

    def _load_waits(self, match: int, run: RunId, step: str, state: State) -> None:
        asked = {"match": match, "run": run, "step": step, "limit": PAGE}
        found = self._db.execute(self._queries["load_waits"], asked).fetchall()
        if found:
            page = state.pages[match, run, step] = [rows.Wait(*row) for row in found]
            if not run:
                state.waits[match] = page.copy()

    def _load_workers(self, needs: Needs, state: State) -> None:
        if needs.workers:
            for row in self._all("load_workers", _json(list(needs.workers))):
                state.workers.now[row[0]] = rows.to_worker(row)
        for worker in needs.held_by:
            held = [rows.to_item(row) for row in self._all("load_held_items", worker)]
            state.held[worker] = held
            for item in held:
                state.items.now[item.run] = item
                if item.crashes + 1 >= STRIKES:
                    needs.unseen[item.run] = None
                    needs.runs[item.run] = None

    def _load_claimable(self, needs: Needs, state: State) -> None:
        """The heads of the lanes served here: of each as many as are wanted, for any mix."""
        wanted = min(needs.claim, max(state.room, 0) + needs.finishing)
        if wanted <= 0:
            return
        served = [lane for (lane,) in self._all("load_lanes") if lane in state.here.serves]
        found: list[rows.Item] = []
        for urgency in Urgency:
            limit = 1 if urgency == Urgency.SUSPECT else wanted - len(found)
            for lane in served if limit > 0 else ():
                asked = {"lane": lane, "class": int(urgency), "limit": limit}
                claimed = self._db.execute(self._queries["claim_items"], asked)
                found.extend(map(rows.to_item, claimed))
        for item in found:
            state.items.now[item.run] = item
        state.claimable = found

    def _load_steps(self, needs: Needs, state: State) -> None:
        if needs.steps:
            for row in self._many("load_steps", list(needs.steps)):
                step = rows.to_step(row)
                state.steps.now[step.run, step.id] = step
                if step.seq is None:
                    state.unseen.setdefault(step.run, {})[step.id] = None
        settled = state.here.settled
        unsettled = [run for run in needs.unseen if run not in settled]
        if unsettled:
            for row in self._all("load_unseen_steps", _json(unsettled)):
                step = rows.to_step(row)
                state.steps.now[step.run, step.id] = step
                state.unseen.setdefault(step.run, {})[step.id] = None

    # -- apply ---------------------------------------------------------------------------------

    def apply(self, state: State) -> None:
        """Each kind in one go. The order is that of the tables, the same in every batch."""
        put = self._put
        put("insert_events", state.new_events, rows.event_row)
        changed_dedup = [
            (*key, *now) for key in state.dedup.before if (now := state.dedup.now[key])
        ]
        put("put_dedup", changed_dedup, tuple)
        put("insert_runs", state.new_runs, rows.run_row)
        put("insert_labels", state.labels, lambda label: (label.label, label.run))
        put("insert_items", state.items.inserted(), rows.item_row)
        put("update_items", state.items.updated(), rows.item_change)
        if gone := state.items.deleted():
            self._db.execute(self._queries["delete_items"], (_json(gone),))
        put("delete_ready", list(state.ready.gone), tuple)
        put("insert_ready", [(*key, run) for key, run in state.ready.added.items()], tuple)
        put("insert_steps", state.steps.inserted(), rows.step_row)
        put("update_steps", state.steps.updated(), rows.step_change)
        put("delete_waits", list(state.wait_rows.gone), tuple)
        put("insert_waits", list(state.wait_rows.added.values()), rows.wait_row)
        if state.last_wait != self._last_wait:
            self._all("put_last_wait", state.last_wait)
        put("delete_timers", list(state.timers.gone), rows.timer_row)
        put("insert_timers", list(state.timers.added), rows.timer_row)
        put("insert_done", state.done, rows.done_row)
        put("insert_history", state.records, rows.record_row)
        put("insert_logs", state.logs, rows.log_row)
        put("put_progress", list(state.progress.values()), rows.progress_row)
        self._apply_inbox(state)
        self._apply_rarely(state)

    def _put(self, name: str, values: Sequence[Any], row: Callable[[Any], rows.Row]) -> None:
        if values:
            self._many(name, [row(value) for value in values])

    def _apply_inbox(self, state: State) -> None:
        if state.queued:
            for at, (follow_up, worker) in enumerate(state.queued):
                state.queued[at] = (replace(follow_up, inbox=state.new_id()), worker)
            # Nobody inherits any more from a worker taken for dead: what it queues is anybody's.
            dead = None if state.is_alive else state.here.worker
            self._put(
                "insert_inbox",
                state.queued,
                lambda q: (q[0].inbox, None if q[1] == dead else q[1], 0, _body(q[0])),
            )
        if state.inbox_done:
            self._db.execute(self._queries["delete_inbox"], (_json(state.inbox_done),))
        for inbox, worker in state.inbox_moved:
            self._all("move_inbox", worker, inbox)
        for worker in state.inbox_freed:
            self._all("free_inbox", worker)

    def _apply_rarely(self, state: State) -> None:
        self._put("put_functions", state.functions, rows.function_row)
        self._put("put_shapes", state.shapes, rows.shape_row)
        if state.config_changed:
            self._all("bump_config_version")
        for worker in (*state.workers.inserted(), *state.workers.updated()):
            self._all("put_workers", *rows.worker_row(worker))
        for worker, at in state.beats:
            self._all("insert_beats", worker, at)
            self._all("trim_beats", worker, at)
        for trimmed in state.trimmed:
            self._trim(trimmed)

    def _trim(self, gone: Trimmed) -> None:
        if gone.runs:
            self._trim_runs(gone.runs)
        if gone.events:
            self._all("delete_events", _json(gone.events))
        self._all("trim_dedup", gone.dedup_before)
        self._all("trim_workers", gone.workers_before)
        self._all("trim_beats_of_gone")

    def _trim_runs(self, runs: Sequence[RunId]) -> None:
        ids = _json([run for (run,) in self._all("load_disposable", _json(runs))])
        left = TRIM_ROWS
        for name in ("steps", "history", "logs"):
            left -= self._db.execute(self._queries[f"delete_{name}"], (ids, left)).rowcount
        # What is left over comes in the next page: until then the runs themselves stay.
        if left > 0:
            for name in ("runs", "done", "progress", "labels"):
                self._all(f"delete_{name}", ids)
