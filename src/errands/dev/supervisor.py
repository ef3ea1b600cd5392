"""Starts the development server, and starts it anew when a source file changes.

The supervisor holds the listening socket, so that clients which come while the server is started
anew wait instead of being refused. It imports neither the app nor the server.
"""

import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

import msgspec

from errands.dev.options import DevOptions
from errands.dev.sources import Snapshot, changed_file, take_snapshot
from errands.dev.words import style
from errands.listening import listen

LOOK_SECONDS = 0.3
LOOKS_SHARE = 20
"""Of the time at most one part in so many goes into looking at files."""
SETTLE_SECONDS = 0.05
"""Until what is written together is written."""
PATIENCE_SECONDS = 10.0
"""For a server that was told to stop; then it is killed."""
SETTLE_MAX = 20
STOPPING = {signal.SIGTERM, signal.SIGINT}
FAILED = 1


def supervise(options: DevOptions) -> int:
    """Until SIGTERM or SIGINT; gives the exit code. Call it in the main thread.

    Raises InvalidConfig.
    """
    with listen(options.host, options.port) as listener, _hearing() as bell:
        return Supervisor(options, listener, bell).run()


class Supervisor:
    """`bell`: one byte for each signal, its number."""

    def __init__(self, options: DevOptions, listener: socket.socket, bell: socket.socket) -> None:
        self._options, self._listener, self._bell = options, listener, bell
        self._folder = Path.cwd()

    def run(self) -> int:
        while True:
            seen = take_snapshot(self._folder)
            server = Server(self._options, self._listener)
            changed = self._follow(server, seen)
            if changed is None:
                return self._stop(server)
            name = os.path.relpath(changed, self._folder)
            print(style(f"{name} has changed: starting anew", "dim"), flush=True)
            self._stop(server)
            self._options = msgspec.structs.replace(self._options, is_again=True)

    def _follow(self, server: "Server", seen: Snapshot) -> str | None:
        """The file that changes; None: a signal, or the first server has ended by itself."""
        pause, is_over = LOOK_SECONDS, False
        while True:
            if self._heard(pause) & STOPPING:
                return None
            if not is_over and server.code is not None:
                is_over = True
                if not self._options.is_again:
                    return None
                print("The server has ended; it starts when a file changes.", flush=True)
            started_at = time.monotonic()
            now = take_snapshot(self._folder)
            pause = max(LOOK_SECONDS, (time.monotonic() - started_at) * LOOKS_SHARE)
            if (changed := changed_file(seen, now)) is not None:
                self._settle(now)
                return changed

    def _settle(self, before: Snapshot) -> None:
        """What is written together is seen together."""
        for _ in range(SETTLE_MAX):
            time.sleep(SETTLE_SECONDS)
            now = take_snapshot(self._folder)
            if changed_file(before, now) is None:
                return
            before = now

    def _stop(self, server: "Server") -> int:
        """Its exit code. A further signal is passed on: it then does not wait for what executes."""
        server.terminate()
        end = time.monotonic() + PATIENCE_SECONDS
        while server.code is None and (left := end - time.monotonic()) > 0:
            if self._heard(min(left, LOOK_SECONDS)) & STOPPING:
                server.terminate()
        return server.close()

    def _heard(self, seconds: float) -> set[int]:
        """Signals that come within this time, or at once."""
        ready, _, _ = select.select([self._bell], [], [], seconds)
        return set(self._bell.recv(1024)) if ready else set()


class Server:
    """The process that serves and works. It ends with its parent, even by kill -9."""

    def __init__(self, options: DevOptions, listener: socket.socket) -> None:
        self._life, theirs = socket.socketpair()
        descriptors = (theirs.fileno(), listener.fileno())
        with theirs:
            # A process group of its own: Ctrl-C reaches it through its parent, once.
            self._popen = subprocess.Popen(
                [
                    sys.executable,
                    "-m",
                    "errands.dev.server",
                    *map(str, descriptors),
                    msgspec.json.encode(options).decode(),
                ],
                stdin=subprocess.DEVNULL,
                pass_fds=descriptors,
                process_group=0,
            )

    @property
    def code(self) -> int | None:
        """Its exit code; None while it runs."""
        return self._popen.poll()

    def terminate(self) -> None:
        self._popen.terminate()

    def close(self) -> int:
        """Kill it if it still runs."""
        if self.code is None:
            self._popen.kill()
        code = self._popen.wait()
        self._life.close()
        return code if code >= 0 else FAILED


@contextmanager
def _hearing() -> Generator[socket.socket]:
    """Signals as bytes on a socket: to stop, and that a child has ended."""
    bell, ours = socket.socketpair()
    with bell, ours:
        ours.setblocking(False)
        before_fd = signal.set_wakeup_fd(ours.fileno(), warn_on_full_buffer=False)
        before = {one: signal.signal(one, _noted) for one in (*STOPPING, signal.SIGCHLD)}
        try:
            yield bell
        finally:
            for one, handler in before.items():
                signal.signal(one, handler)
            signal.set_wakeup_fd(before_fd)


def _noted(number: int, frame: FrameType | None) -> None:
    """The byte on the socket tells it."""
