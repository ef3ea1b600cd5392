"""The SQLite store, with crashes and an unwilling disk around each transaction.

Also the witness of what was committed, in order: the book is told before anybody is answered.
"""

import os
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from errands.store.interface import Ear, StoreUnavailable, Topic
from errands.store.sqlite import turnstile
from errands.store.sqlite.store import SqliteStore

if TYPE_CHECKING:
    from tests.simulation.process import Process


class Crashed(BaseException):
    """The process has ended here."""


class WatchedStore:
    """See `store.interface.Store`."""

    def __init__(self, process: "Process") -> None:
        self.process, self.world = process, process.world
        self.real = SqliteStore(self.world.path, may_migrate=False, is_durable=False)
        self.reader = self.real.reader
        self.version = self.real.version

    @contextmanager
    def transaction(self) -> Generator[Any]:
        faults = self.process.faults
        if faults.is_store_away():
            raise StoreUnavailable("simulated: it cannot be opened")
        with self.real.transaction() as transaction:
            witness = Witness(transaction)
            yield witness
            if faults.fails_to_commit():
                raise StoreUnavailable("simulated: the disk is full")
            if faults.crashes("before a commit"):
                raise Crashed
        for state in witness.states:
            self.process.book.committed(self.process, state)
        if faults.crashes("after a commit"):
            raise Crashed

    # -- other processes -----------------------------------------------------------------------

    def hold_node(self, node: int) -> None:
        other = self.world.nodes.get(node)
        if other is not None and other is not self.process and other.is_alive:
            self.world.violate(f"node {node} is given to {self.process} but {other} has it")
        self.world.nodes[node] = self.process

    def drop_node(self, node: int) -> None:
        if self.world.nodes.get(node) is self.process:
            del self.world.nodes[node]

    def is_node_dead(self, node: int) -> bool:
        holder = self.world.nodes.get(node)
        return self.world.is_death_proven and (holder is None or not holder.is_alive)

    def ring(self, topic: Topic) -> None:
        if topic == Topic.WORK:
            for process in self.world.processes:
                if process is not self.process and process.dispatcher is not None:
                    self._hint(process)

    def _hint(self, process: "Process") -> None:
        """A datagram: it comes at once, or is lost."""
        dispatcher = process.dispatcher
        if dispatcher is not None and self.world.random.random() >= self.world.hint_loss:
            process.loop.call_soon(dispatcher.hinted)

    def listen(self, topic: Topic) -> Ear | None:
        return None

    def close(self) -> None:
        self.real.close()


class Witness:
    """A transaction that remembers what was applied in it."""

    def __init__(self, transaction: Any) -> None:
        self._transaction = transaction
        self.states: list[Any] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transaction, name)

    def apply(self, state: Any) -> None:
        self._transaction.apply(state)
        self.states.append(state)


def forget_turnstile(path: Path) -> None:
    """Real processes keep theirs for life; here one process lives through a thousand files."""
    found = turnstile._open.pop(str(path.resolve()), None)
    if found is not None:
        os.close(found._file)
