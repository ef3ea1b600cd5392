"""One transaction: a few round trips, however many inputs it decides."""

from collections.abc import Sequence

import msgspec
from msgspec.structs import replace

from errands.engine.config import Config
from errands.engine.decide import Needs
from errands.engine.state import State
from errands.engine.transition import Trimmed
from errands.model.errors import StoreError
from errands.model.ids import NODES, RunId, WorkerId
from errands.model.step import Wait
from errands.model.worker import WorkerState
from errands.store import rows
from errands.store.interface import StoreBusy
from errands.store.postgres.arrays import ints
from errands.store.postgres.ask import Asker, Cursor
from errands.store.postgres.heads import Heads
from errands.store.postgres.load import Loader

TRIM_ROWS = 5_000
"""Steps, history and log lines that one transaction of retention removes at most."""
DRAWN_MAX = 100_000
_body = msgspec.msgpack.Encoder().encode


class Known:
    """What a store remembers from one transaction to the next."""

    def __init__(self, class_id: int) -> None:
        self.heads = Heads()
        self.class_id = class_id
        self.worker = WorkerId(0)
        """Who decided last: most likely who does next."""


class PostgresTransaction:
    """See `store.interface.Transaction`."""

    def __init__(self, asker: Asker, known: Known) -> None:
        self._asker, self._known = asker, known
        self._all = asker.all
        self._last_wait = 0
        """As it was loaded."""
        # Asked for together with the beginning of the transaction.
        self._alive: tuple[WorkerId, Cursor] | None = None
        if known.worker:
            self._alive = known.worker, asker.ask("hold_own_worker", known.worker)
        self._version = asker.ask("load_config_version")
        self._number: int | None = None

    def changed_elsewhere(self) -> bool:
        # Others write at any time; nothing that was known before is relied on here.
        return True

    # -- configuration -------------------------------------------------------------------------

    def hold_config(self) -> bool:
        found = self._all("hold_config")
        if found:
            self._number = found[0][0]
        return bool(found)

    def config_version(self) -> int:
        if self._number is None:
            self._number = int(self._asker.answer(self._version)[0][0])
        return self._number

    def load_config(self) -> Config:
        # The version first: what changes in between makes it stale, and is loaded again.
        version = int(self._all("load_config_version")[0][0])
        functions = [rows.to_function(row) for row in self._all("list_functions")]
        shapes = [rows.to_shape(row) for row in self._all("list_shapes")]
        return Config(version, functions, shapes)

    def is_alive(self, worker: WorkerId) -> bool:
        if self._alive is None or self._alive[0] != worker:
            self._known.worker = worker
            self._alive = worker, self._asker.ask("hold_own_worker", worker)
        found = self._asker.answer(self._alive[1])
        return bool(found) and found[0][0] == WorkerState.ALIVE

    def free_node(self) -> int:
        self._all("lock_joining", self._known.class_id)
        workers = [rows.to_worker(row) for row in self._all("list_workers")]
        taken = {worker.node for worker in workers}
        # Somebody taken for dead still holds its node, until it comes to its senses.
        taken.update(node for (node,) in self._all("list_held_nodes", self._known.class_id))
        last = self._all("last_node")
        start = last[0][0] + 1 if last else 0
        for n in range(NODES):
            if (node := (start + n) % NODES) not in taken:
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
        last = self._asker.ask("last_wait")
        loader = Loader(self._asker, self._known.heads, needs, state)
        is_free = loader.load()
        state.last_wait = self._last_wait = int(self._asker.answer(last)[0][0])
        return None if is_free else loader.locked

    # -- apply ---------------------------------------------------------------------------------

    def apply(self, state: State) -> None:
        """Each kind in one statement. First what may have to wait for somebody else."""
        asker, put = self._asker, self._asker.put
        self._put_dedup(state)
        waits = self._numbered(state)
        put("insert_events", state.new_events, rows.event_row)
        put("insert_runs", state.new_runs, rows.run_row)
        put("insert_labels", state.labels, lambda label: (label.label, label.run))
        put("insert_items", state.items.inserted(), rows.item_row)
        put("update_items", state.items.updated(), rows.item_change)
        if gone := state.items.deleted():
            asker.among("delete_items", gone)
        put("delete_ready", list(state.ready.gone))
        put("insert_ready", [(*key, run) for key, run in state.ready.added.items()])
        put("insert_steps", state.steps.inserted(), rows.step_row)
        put("update_steps", state.steps.updated(), rows.step_change)
        put("delete_waits", list(state.wait_rows.gone))
        put("insert_waits", waits, rows.wait_row)
        put("delete_timers", list(state.timers.gone), rows.timer_row)
        put("insert_timers", list(state.timers.added), rows.timer_row)
        put("insert_done", state.done, rows.done_row)
        put("insert_history", state.records, rows.record_row)
        put("insert_logs", state.logs, rows.log_row)
        put("put_progress", list(state.progress.values()), rows.progress_row)
        self._apply_inbox(state)
        self._apply_rarely(state)

    def _put_dedup(self, state: State) -> None:
        changed = [(*key, *now) for key in state.dedup.before if (now := state.dedup.now[key])]
        if changed:
            kept = self._asker.answer(self._asker.many("put_dedup", changed, state.now))
            if len(kept) < len(changed):
                raise StoreBusy("somebody else has just given the same key")

    def _numbered(self, state: State) -> Sequence[Wait]:
        """The waits to register, each numbered by the store: the n-th of a batch gets at least the
        number that it was decided with, and more than all that were committed before it was loaded.
        """
        count = state.last_wait - self._last_wait
        waits = list(state.wait_rows.added.values())
        if count <= 0:
            return waits
        if count > DRAWN_MAX:
            # Never of a batch that was decided: those count one by one.
            self._all("set_wait_number", state.last_wait)
            return waits
        drawn = [number for (number,) in self._all("draw_wait_numbers", count)]
        first = self._last_wait + 1
        return [
            replace(wait, number=drawn[wait.number - first]) if wait.number >= first else wait
            for wait in waits
        ]

    def _apply_inbox(self, state: State) -> None:
        asker = self._asker
        if state.queued:
            for at, (follow_up, worker) in enumerate(state.queued):
                state.queued[at] = (replace(follow_up, inbox=state.new_id()), worker)
            # Nobody inherits any more from a worker taken for dead: what it queues is anybody's.
            dead = None if state.is_alive else state.here.worker
            asker.put(
                "insert_inbox",
                state.queued,
                lambda q: (q[0].inbox, None if q[1] == dead else q[1], 0, _body(q[0])),
            )
        if state.inbox_done:
            asker.among("delete_inbox", state.inbox_done)
        for inbox, worker in state.inbox_moved:
            asker.ask("move_inbox", worker, inbox)
        for worker in state.inbox_freed:
            asker.ask("free_inbox", worker)

    def _apply_rarely(self, state: State) -> None:
        asker = self._asker
        asker.put("put_functions", state.functions, rows.function_row)
        asker.put("put_shapes", state.shapes, rows.shape_row)
        if state.config_changed:
            asker.ask("bump_config_version")
        changed = [*state.workers.inserted(), *state.workers.updated()]
        asker.put("put_workers", changed, rows.worker_row)
        if state.beats:
            asker.many("insert_beats", state.beats)
            for worker, at in state.beats:
                asker.ask("trim_beats", worker, at)
        for trimmed in state.trimmed:
            self._trim(trimmed)

    # -- retention -----------------------------------------------------------------------------

    def _trim(self, gone: Trimmed) -> None:
        asker = self._asker
        if gone.runs:
            self._trim_runs(gone.runs)
        if gone.events:
            asker.among("delete_events", gone.events)
        asker.ask("trim_dedup", gone.dedup_before)
        asker.ask("trim_workers", gone.workers_before)
        asker.ask("trim_beats_of_gone")
        asker.ask("trim_marks")

    def _trim_runs(self, runs: Sequence[RunId]) -> None:
        asker = self._asker
        found = [run for (run,) in asker.answer(asker.among("hold_disposable", runs))]
        if not found:
            return
        held, exist = asker.among("hold_runs", found), asker.among("exist_runs", found)
        mine = {run for (run,) in asker.answer(held)}
        # One that somebody is about to repeat stays.
        others = {run for (run,) in asker.answer(exist) if run not in mine}
        ids = [run for run in found if run not in others]
        left = TRIM_ROWS
        for name in ("steps", "history", "logs"):
            left -= asker.count(self._delete_some(f"delete_{name}", ids, left))
        # What is left over comes in the next page: until then the runs themselves stay.
        if left > 0:
            for name in ("runs", "done", "progress", "labels"):
                asker.among(f"delete_{name}", ids)

    def _delete_some(self, name: str, ids: Sequence[int], most: int) -> Cursor:
        return self._asker.ask(name, ints(ids), most)
