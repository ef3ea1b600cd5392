"""The PostgreSQL store: one connection that writes, a few that read, one that proves life."""

import contextlib
import logging
import os
import random
import secrets
import threading
import time
from collections.abc import Generator
from typing import Any, NamedTuple

import psycopg

from errands.model.errors import StoreError
from errands.store.interface import Ear, StoreConflict, StoreUnavailable, Topic
from errands.store.postgres.ask import Asker
from errands.store.postgres.connection import Address, Connector, Pool
from errands.store.postgres.errors import REFUSED, translated
from errands.store.postgres.keeper import Keeper
from errands.store.postgres.migrations import Migrator
from errands.store.postgres.queries import Statements
from errands.store.postgres.reader import PostgresReader
from errands.store.postgres.transaction import Known, PostgresTransaction

log = logging.getLogger("errands.postgres")
READERS = 4
MISSING_SECONDS = 3.0
"""A process that is gone for so long is gone: one that only lost its connection has a new one."""
MARKS_KEPT = 100
DOUBT_SECONDS = (0.05, 0.5)
"""Between two attempts to find out whether a batch was committed."""


class _Writer(NamedTuple):
    db: psycopg.Connection[Any]
    pid: int
    began_at: Any
    """Its process on the server: number and birth, which nobody else has."""


@contextlib.contextmanager
def _pipeline(db: psycopg.Connection[Any]) -> Generator[psycopg.Pipeline]:
    with db.pipeline() as pipeline:
        try:
            yield pipeline
        except BaseException:
            # What was still under way has failed as well.
            with contextlib.suppress(psycopg.Error):
                pipeline.sync()
            raise


class PostgresStore:
    """One schema. Threads of a process take turns to write; processes do not."""

    def __init__(
        self, address: Address, *, may_migrate: bool = True, is_durable: bool = True
    ) -> None:
        self.address = address
        self._connector = Connector(address, is_durable=is_durable)
        self._statements = Statements(address.schema)
        self.keeper = Keeper(self._connector, self._statements, address.schema)
        self._known = Known(self.keeper.class_id)
        self._pool = Pool(self._connector, READERS)
        self._turn = threading.Lock()
        self._writer: _Writer | None = None
        self._process, self._batch = secrets.randbits(62), 0
        self._missing: dict[int, float] = {}
        """Since when nodes are seen that nobody holds."""
        self._dropped: dict[int, None] = {}
        self._version = 0
        self._is_closed = False
        self._pid = os.getpid()
        self._prepare(may_migrate)
        self.reader = PostgresReader(self._pool, self._statements, self._known.heads, address)

    def _prepare(self, may_migrate: bool) -> None:
        try:
            with self._pool.connection() as db:
                given = (db, self.address.schema, self.address.shown, self.keeper.class_id)
                migrator = Migrator(*given)
                if may_migrate:
                    migrator.apply_all()
                else:
                    migrator.check()
        except (psycopg.Error, StoreUnavailable) as error:
            self.close()
            raise StoreError(
                f"{self.address.shown} cannot be used as a store: {str(error).strip()}.",
                hint="Is the server there, and may this user connect to that database?",
            ) from error
        except BaseException:
            self.close()
            raise

    # -- transactions --------------------------------------------------------------------------

    @contextlib.contextmanager
    def transaction(self) -> Generator[PostgresTransaction]:
        with self._turn:
            writer = self._connected()
            self._batch += 1
            is_asked = False
            try:
                with _pipeline(writer.db) as pipeline:
                    asker = Asker(writer.db, pipeline, self._statements)
                    writer.db.execute(b"BEGIN", prepare=False)
                    asker.ask("insert_mark", self._process, self._batch)
                    yield PostgresTransaction(asker, self._known)
                    if self._batch % MARKS_KEPT == 0:
                        asker.ask("trim_own_marks", self._process, self._batch - 1)
                    is_asked = True
                    committed = writer.db.execute(b"COMMIT", prepare=False)
                    asker.sync()
                if committed.statusmessage != "COMMIT":
                    raise StoreConflict("the transaction was rolled back")
            except (psycopg.Error, *REFUSED) as error:
                if self._roll_back(writer) or not is_asked or not self._was_committed(writer):
                    raise translated(error) from error
            except BaseException:
                self._roll_back(writer)
                raise

    def _connected(self) -> _Writer:
        """Raises StoreUnavailable."""
        if self._is_closed:
            raise StoreUnavailable("the store is closed in this process")
        if self._writer is not None and not self._writer.db.closed:
            return self._writer
        db = self._connector.connect(is_writer=True)
        try:
            found = db.execute(self._statements["own_session"]).fetchone()
        except psycopg.Error as error:
            db.close()
            raise translated(error) from error
        assert found is not None
        self._writer = _Writer(db, *found)
        return self._writer

    def _roll_back(self, writer: _Writer) -> bool:
        """Undo what was begun; False if the connection is lost, and nobody knows how it went."""
        db = writer.db
        try:
            if not db.closed:
                # The driver's own, which also forgets what it takes for prepared: statements behind
                # an error were not.
                db.rollback()
                return True
        except psycopg.Error as error:
            log.info("the connection that writes is lost: %s", error)
        db.close()
        self._writer = None
        self._pool.drop()
        return False

    def _was_committed(self, lost: _Writer) -> bool:
        """The answer to a COMMIT is lost: look whether the batch has left its mark.

        Until that is known nothing else is written, and nobody is answered. Raises StoreUnavailable
        if the store is closed meanwhile.
        """
        log.warning("the connection was lost during a commit; looking for what became of it")
        while not self._is_closed:
            try:
                with self._connector.connect(is_writer=True) as db:
                    # It may still wait there for what will never come.
                    db.execute(self._statements["end_session"], (lost.pid, lost.began_at))
                    mark = (self._process, self._batch)
                    db.execute(self._statements["void_mark"], mark)
                    found = db.execute(self._statements["load_mark"], mark).fetchone()
                    return found is not None and not found[0]
            except (psycopg.Error, StoreUnavailable) as error:
                log.info("not known yet whether it was committed: %s", error)
                time.sleep(random.uniform(*DOUBT_SECONDS))
        raise StoreUnavailable(
            "the connection was lost during a commit, and whether it succeeded is not known"
        )

    # -- other processes -----------------------------------------------------------------------

    def hold_node(self, node: int) -> None:
        self._dropped.pop(node, None)
        self.keeper.hold_node(node)

    def drop_node(self, node: int) -> None:
        self.keeper.drop_node(node)
        self._dropped[node] = None

    def is_node_dead(self, node: int) -> bool:
        """Only after a while: who has lost its connection, or the whole server, comes back."""
        if node in self.keeper.nodes:
            return False
        if node in self._held_nodes():
            self._missing.pop(node, None)
            return False
        if node in self._dropped:
            return True
        since = self._missing.setdefault(node, time.monotonic())
        return time.monotonic() - since >= MISSING_SECONDS

    def _held_nodes(self) -> dict[int, None]:
        found = self.reader.named("list_held_nodes", self.keeper.class_id)
        return dict.fromkeys(node for (node,) in found)

    def version(self) -> int:
        try:
            self._version = self.reader.named("snapshot")[0][0]
        except StoreUnavailable:
            # Nothing can be seen; whoever polls asks again.
            return self._version
        return self._version + self._known.heads.owed()

    def ring(self, topic: Topic) -> None:
        self.keeper.ring(topic)

    def listen(self, topic: Topic) -> Ear | None:
        return self.keeper.listen(topic)

    def close(self) -> None:
        self._is_closed = True
        if self._pid != os.getpid():
            # A forked child has no part in its parent's connections.
            return
        self.keeper.close()
        if self._writer is not None:
            self._writer.db.close()
        self._pool.close()
