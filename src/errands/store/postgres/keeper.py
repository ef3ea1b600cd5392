"""The connection that proves that this process lives, and on which it tells others to look.

Node numbers are advisory locks of its session: they go when the process ends, however that happens.
Hints are notifications, sent after the commit that they are about and as one for many; they may be
lost, doubled or late: the truth is what a poll finds.
"""

import contextlib
import logging
import select
import socket
import threading
import time
import zlib
from typing import Any

import psycopg

from errands.store.interface import StoreUnavailable, Topic
from errands.store.postgres.connection import Connector
from errands.store.postgres.queries import Statements

log = logging.getLogger("errands.postgres")
QUIET_SECONDS = 0.002
"""Between two hints of one process."""
ALONE_SECONDS = 1.0
"""How long it is remembered whether anybody else is there to be told."""
RETRY_SECONDS = 0.2


class Ear:
    """Readable when a hint has come. See `store.interface.Ear`."""

    def __init__(self, keeper: "Keeper", topic: Topic) -> None:
        self._keeper, self.topic = keeper, topic
        self._here, self._there = socket.socketpair()
        self._here.setblocking(False)
        self._there.setblocking(False)

    def fileno(self) -> int:
        return self._here.fileno()

    def hear(self) -> None:
        with contextlib.suppress(OSError):  # full: hints wait there already
            self._there.send(b"!")

    def drain(self) -> None:
        with contextlib.suppress(BlockingIOError):
            while self._here.recv(64):
                pass

    def close(self) -> None:
        self._keeper.forget(self)
        self._here.close()
        self._there.close()


class Keeper:
    """One connection and one thread, from the first time that they are needed."""

    def __init__(self, connector: Connector, statements: Statements, schema: str) -> None:
        self._connector, self._statements = connector, statements
        self.class_id = zlib.crc32(b"errands." + schema.encode()) & 0x7FFFFFFF
        """The first half of the numbers of this schema's advisory locks."""
        self.nodes: dict[int, None] = {}
        self._channels = {f"errands_{self.class_id:x}_{topic.value}": topic for topic in Topic}
        self._names = {topic: name for name, topic in self._channels.items()}
        self._ears: list[Ear] = []
        self._db: psycopg.Connection[Any] | None = None
        self._lock = threading.RLock()
        self._thread: threading.Thread | None = None
        self._awake, self._wake = socket.socketpair()
        self._awake.setblocking(False)
        self._wake.setblocking(False)
        self._rung: dict[Topic, None] = {}
        self._told_at = self._looked_at = 0.0
        self._is_alone = False
        self._is_closed = False

    # -- from any thread -----------------------------------------------------------------------

    def hold_node(self, node: int) -> None:
        with self._lock:
            db = self._connected()
            try:
                if not self._hold(db, node):
                    raise StoreUnavailable(f"node {node} is held by another process")
            except psycopg.Error as error:
                self._lose()
                raise StoreUnavailable(str(error)) from error
            self.nodes[node] = None
        self._start()

    def drop_node(self, node: int) -> None:
        with self._lock:
            if self.nodes.pop(node, 0) is None and self._db is not None:
                try:
                    self._db.execute(
                        "SELECT pg_advisory_unlock($1::int, $2::int)", (self.class_id, node)
                    )
                except psycopg.Error:
                    self._lose()

    def listen(self, topic: Topic) -> Ear:
        ear = Ear(self, topic)
        with self._lock:
            self._ears.append(ear)
        self._start()
        return ear

    def forget(self, ear: Ear) -> None:
        with self._lock:
            if ear in self._ears:
                self._ears.remove(ear)

    def ring(self, topic: Topic) -> None:
        if topic not in self._rung:
            self._rung[topic] = None
            self._rouse()

    def close(self) -> None:
        self._is_closed = True
        self._rouse()
        if (thread := self._thread) is not None:
            thread.join()
        with self._lock:
            self._lose()
        self._awake.close()
        self._wake.close()

    def _rouse(self) -> None:
        with contextlib.suppress(OSError):
            self._wake.send(b"!")

    def _start(self) -> None:
        with self._lock:
            if self._thread is None and not self._is_closed:
                self._thread = threading.Thread(
                    target=self._run, name="errands-keeper", daemon=True
                )
                self._thread.start()
        self._rouse()

    # -- the connection ------------------------------------------------------------------------

    def _connected(self) -> psycopg.Connection[Any]:
        """Raises StoreUnavailable."""
        if self._db is None or self._db.closed:
            db = self._connector.connect()
            try:
                for name in self._channels:
                    db.execute(f"LISTEN {name}".encode())
                for node in self.nodes:
                    if not self._hold(db, node):
                        log.warning("node %d was given to another process meanwhile", node)
            except psycopg.Error as error:
                db.close()
                raise StoreUnavailable(str(error)) from error
            db.add_notify_handler(self._notified)
            self._db = db
            # What was hinted meanwhile is lost.
            for ear in self._ears:
                ear.hear()
        return self._db

    def _hold(self, db: psycopg.Connection[Any], node: int) -> bool:
        asked = db.execute("SELECT pg_try_advisory_lock($1::int, $2::int)", (self.class_id, node))
        return bool(asked.fetchone()[0])  # type: ignore[index] # pyright: ignore[reportOptionalSubscript]

    def _lose(self) -> None:
        if self._db is not None:
            self._db.close()
            self._db = None

    def _notified(self, notify: psycopg.Notify) -> None:
        assert self._db is not None
        if notify.pid == self._db.info.backend_pid:
            return
        topic = self._channels.get(notify.channel)
        for ear in self._ears:
            if ear.topic is topic:
                ear.hear()

    # -- its thread ----------------------------------------------------------------------------

    def _run(self) -> None:
        while not self._is_closed:
            try:
                with self._lock:
                    db = self._connected()
                self._wait(db)
                with self._lock:
                    if self._db is db:
                        self._receive(db)
                        self._tell(db)
            except (psycopg.Error, StoreUnavailable, OSError, ValueError) as error:
                if self._is_closed:
                    return
                log.info("the connection to the other processes is lost: %s", error)
                with self._lock:
                    self._lose()
                time.sleep(RETRY_SECONDS)

    def _wait(self, db: psycopg.Connection[Any]) -> None:
        pause = self._told_at + QUIET_SECONDS - time.monotonic()
        if self._rung and pause > 0:
            time.sleep(pause)
            return
        select.select([db.fileno(), self._awake], [], [], None if not self._rung else 0)
        with contextlib.suppress(BlockingIOError):
            while self._awake.recv(256):
                pass

    def _receive(self, db: psycopg.Connection[Any]) -> None:
        db.pgconn.consume_input()
        while (found := db.pgconn.notifies()) is not None:
            self._notified(psycopg.Notify(found.relname.decode(), "", found.be_pid))

    def _tell(self, db: psycopg.Connection[Any]) -> None:
        now = time.monotonic()
        if not self._rung or now < self._told_at + QUIET_SECONDS:
            return
        if now - self._looked_at > ALONE_SECONDS:
            self._looked_at = now
            asked = db.execute(self._statements["any_other_worker"], (list(self.nodes),))
            self._is_alone = asked.fetchone() is None
        rung = [topic for topic in Topic if self._rung.pop(topic, 0) is None]
        self._told_at = now
        if not self._is_alone:
            for topic in rung:
                db.execute("SELECT pg_notify($1, '')", (self._names[topic],))
