"""Record locks beside the database: whose turn it is to write, and which processes live.

POSIX record locks end with the process, however it ends, so a held one is proof of life. They do
not tell threads of one process apart, and closing *any* descriptor of the file drops them all:
hence one descriptor a path and process, never closed, and a thread lock in front. A forked child
inherits the descriptor, and no lock.
"""

import fcntl
import os
import struct
import threading
from pathlib import Path

NEXT, MAIN, FIRST_NODE = 0, 1, 16
_open: dict[str, "Turnstile"] = {}
_open_lock = threading.Lock()


class Turnstile:
    """`enter` … `leave` around a write transaction.

    Two locks make it fair: who waits for `main` holds `next`, so a process that has just written
    queues up behind everybody who came meanwhile. With SQLite's own busy handler a light sender
    beside a busy worker waits for half a second; here for a few milliseconds.
    """

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        self._turn = threading.Lock()
        self._nodes: dict[int, None] = {}

    def enter(self) -> None:
        self._turn.acquire()
        try:
            fcntl.lockf(self._file, fcntl.LOCK_EX, 1, NEXT)
            try:
                fcntl.lockf(self._file, fcntl.LOCK_EX, 1, MAIN)
            finally:
                fcntl.lockf(self._file, fcntl.LOCK_UN, 1, NEXT)
        except BaseException:
            self._turn.release()
            raise

    def leave(self) -> None:
        fcntl.lockf(self._file, fcntl.LOCK_UN, 1, MAIN)
        self._turn.release()

    def pause(self) -> None:
        self._turn.acquire()

    def resume(self, *, is_child: bool) -> None:
        if is_child:
            self._nodes.clear()
        self._turn.release()

    def hold_node(self, node: int) -> None:
        fcntl.lockf(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, FIRST_NODE + node)
        self._nodes[node] = None

    def drop_node(self, node: int) -> None:
        if self._nodes.pop(node, 0) is None:
            fcntl.lockf(self._file, fcntl.LOCK_UN, 1, FIRST_NODE + node)

    def is_node_dead(self, node: int) -> bool:
        return node not in self._nodes and self.pid_at(FIRST_NODE + node) is None

    def pid_at(self, byte: int) -> int | None:
        """The other process that holds this byte, if one does."""
        asked = struct.pack("hhqqi4x", fcntl.F_WRLCK, os.SEEK_SET, byte, 1, 0)
        told = struct.unpack("hhqqi4x", fcntl.fcntl(self._file, fcntl.F_GETLK, asked))
        return None if told[0] == fcntl.F_UNLCK else int(told[4])


def turnstile(database: Path) -> Turnstile:
    """This process's turnstile for a database. Never closed: see the module."""
    with _open_lock:
        key = str(database)
        if key not in _open:
            _open[key] = Turnstile(database.with_name(database.name + "-lock"))
        return _open[key]


def pause_all() -> None:
    """Before a fork: let nobody of this process in."""
    _open_lock.acquire()
    for one in _open.values():
        one.pause()


def resume_all(*, is_child: bool) -> None:
    """After a fork. The child holds no lock of its parent."""
    for one in _open.values():
        one.resume(is_child=is_child)
    _open_lock.release()
