"""A process's place among those that use a store: its number, its id as a worker, its row."""

import logging
import os
import socket

from msgspec.structs import replace

from errands.clock import Clock, IdSource
from errands.engine.absorb import absorb
from errands.engine.config import Config
from errands.engine.state import Here, State
from errands.engine.transition import BeatKept, WorkerKept
from errands.model.errors import Unavailable
from errands.model.ids import WorkerId, make_id
from errands.model.worker import Worker, WorkerState
from errands.store.interface import Store, StoreConflict, StoreUnavailable

log = logging.getLogger("errands")


class Membership:
    """`app`: how the process is called among the workers. Each join is another worker."""

    def __init__(self, store: Store, clock: Clock, app: str, keep_runs_ms: int) -> None:
        self._store, self._clock, self._app = store, clock, app
        self._key, self._keep_runs_ms = store.reader.key(), keep_runs_ms

    @property
    def node(self) -> int:
        return self._row.node

    def join(self, concurrency: int) -> tuple[Here, IdSource]:
        """A new worker id, and with it new ids for everything. Raises Unavailable, StoreError."""
        node = None
        try:
            with self._store.transaction() as transaction:
                node = transaction.free_node()
                self._store.hold_node(node)
                self._row = self._worker(node, concurrency)
                here = Here(self._row.id, self._key, self._keep_runs_ms)
                new_id = IdSource(node, self._clock)
                state = State(here, Config(0), self._row.started_at, new_id)
                absorb(state, (WorkerKept(self._row), BeatKept(self._row.id, state.now)))
                transaction.apply(state)
        except BaseException as error:
            if node is not None:
                # Nobody has joined under this number.
                self._store.drop_node(node)
            if isinstance(error, StoreUnavailable):
                raise unavailable(error) from error
            raise
        self._here, self._new_id = here, new_id
        return here, new_id

    def _worker(self, node: int, concurrency: int) -> Worker:
        now = self._clock.now()
        return Worker(
            WorkerId(make_id(now, node, 0)),
            node,
            os.getpid(),
            socket.gethostname(),
            self._app,
            WorkerState.ALIVE,
            now,
            now,
            concurrency,
        )

    def say_concurrency(self, concurrency: int) -> None:
        """So that others can see that this process executes, and does not only send.

        Waits for the store; not in an event loop's thread. Raises Unavailable.
        """
        self._row = replace(self._row, concurrency=concurrency)
        try:
            with self._store.transaction() as transaction:
                if transaction.is_alive(self._row.id):
                    state = State(self._here, Config(0), self._clock.now(), self._new_id)
                    absorb(state, (WorkerKept(self._row),))
                    transaction.apply(state)
        except StoreUnavailable as error:
            raise unavailable(error) from error

    def say_that_it_stopped(self) -> None:
        """It goes on, and only sends."""
        try:
            self.say_concurrency(0)
        except (Unavailable, StoreConflict) as error:
            log.warning("others cannot be told that this worker has stopped: %s", error)

    def leave(self) -> None:
        """Its number is free from now on."""
        self._store.drop_node(self.node)


def unavailable(error: StoreUnavailable) -> Unavailable:
    return Unavailable(
        f"The store cannot be written: {error}.",
        hint="Check disk space, permissions, and `errands doctor`.",
    )
