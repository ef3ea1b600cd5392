"""Hints between processes that share a file: "look", in one datagram each.

Whoever wants to be told binds a socket in a folder beside the database; whoever has committed sends
a byte to each socket there. A hint may be lost, doubled or late: the truth is what a poll finds.
Where sockets cannot be had (a folder that cannot be written, another operating system) there are
no hints, and polling is all.
"""

import os
import secrets
import socket
import time
from pathlib import Path

from errands.store.interface import Topic

QUIET_SECONDS = 0.001
"""Between two hints of one process. Who hears one goes on looking for a little longer than that."""
FRESH_SECONDS = 0.02
"""How long it is remembered who listens: a busy process does not read the folder at each commit."""
PATH_BYTES_MAX = 100
"""A socket's path is shorter than 104 bytes (macOS) or 108 (Linux)."""


class Bells:
    """The folder of sockets, as one process uses it. Any thread may ring."""

    def __init__(self, database: Path) -> None:
        self._folder = database.with_name(database.name + "-wake")
        self._handle: int | None = None
        self._prefix = self._reach()
        self._rung = dict.fromkeys(Topic, 0.0)
        self._own: dict[str, None] = {}
        self._names: list[str] = []
        self._read_at = 0.0
        self._socket = _socket() if self._prefix else None

    def _reach(self) -> str:
        """The folder's path in so few bytes that a socket's path has room for it; "" if there is
        none.
        """
        try:
            self._folder.mkdir(exist_ok=True)
            if len(os.fsencode(self._folder)) + 12 <= PATH_BYTES_MAX:
                return f"{self._folder}/"
            # A deep folder has a short name as an open file, on Linux.
            self._handle = os.open(self._folder, os.O_RDONLY | os.O_CLOEXEC)
            if not os.path.isdir(short := f"/proc/self/fd/{self._handle}"):
                return ""
        except OSError:
            return ""
        return f"{short}/"

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()
        if self._handle is not None:
            os.close(self._handle)
        self._socket, self._handle, self._prefix = None, None, ""

    def listen(self, topic: Topic) -> "Ear | None":
        if self._prefix:
            name = topic.value + secrets.token_hex(4)
            ear = _socket()
            try:
                ear.bind(self._prefix + name)
            except OSError:
                ear.close()
            else:
                self._own[name] = None
                return Ear(ear, self._prefix + name)
        return None

    def ring(self, topic: Topic) -> None:
        """Tell the others; never waits, never fails."""
        now = time.monotonic()
        if self._socket is None or now - self._rung[topic] < QUIET_SECONDS:
            return
        self._rung[topic] = now
        if now - self._read_at > FRESH_SECONDS:
            self._read_at = now
            try:
                self._names = os.listdir(self._prefix)
            except OSError:
                self._names = []
        for name in self._names:
            if name.startswith(topic.value) and name not in self._own:
                self._send(self._prefix + name)

    def _send(self, path: str) -> None:
        assert self._socket is not None
        try:
            self._socket.sendto(b"!", path)
        except ConnectionRefusedError:
            # Its process has ended without leaving. Names are never used twice, so it can go.
            try:
                os.unlink(path)
            except OSError:
                return
        except OSError:
            # Its queue is full: hints wait there already. Or it has just left.
            return


class Ear:
    """One socket that hears hints. See `store.interface.Ear`."""

    def __init__(self, ear: socket.socket, path: str) -> None:
        self._socket, self._path = ear, path
        self._pid = os.getpid()

    def fileno(self) -> int:
        return self._socket.fileno()

    def drain(self) -> None:
        try:
            while self._socket.recv(16):
                pass
        except BlockingIOError:
            return

    def close(self) -> None:
        self._socket.close()
        if self._pid == os.getpid():
            try:
                os.unlink(self._path)
            except OSError:
                return


def _socket() -> socket.socket:
    made = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    made.setblocking(False)
    return made
