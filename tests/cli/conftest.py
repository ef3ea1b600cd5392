"""Real commands in processes of their own, on a store file of the test's."""

import json
import os
import pty
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from queue import Empty, Queue
from typing import Any

import pytest

from errands.embedded import open_backend_for
from errands.sdk.app import App
from tests.cli import shop

ROOT = Path(__file__).parents[2]
SECONDS = 30
"""At most, for what takes less than one when the machine is not busy."""


class Answer:
    """What a command has said."""

    def __init__(self, done: "subprocess.CompletedProcess[str]") -> None:
        self.code, self.out, self.err = done.returncode, done.stdout, done.stderr

    @property
    def json(self) -> Any:
        return json.loads(self.out)


class Process:
    """A worker or a server that runs beside the test; all that it says is read."""

    def __init__(self, popen: "subprocess.Popen[str]") -> None:
        self.popen = popen
        self.said: list[str] = []
        self._lines: Queue[str | None] = Queue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.popen.stdout is not None
        for line in self.popen.stdout:
            self._lines.put(line)
        self._lines.put(None)

    def wait_line(self, pattern: str) -> "re.Match[str]":
        """The next line that has this in it."""
        while True:
            try:
                line = self._lines.get(timeout=SECONDS)
            except Empty:
                line = None
            if line is None:
                raise AssertionError(f"no line has {pattern!r} in it:\n{''.join(self.said)}")
            self.said.append(line)
            if found := re.search(pattern, line):
                return found

    def wait_silence(self) -> None:
        """Until nobody is left who could say something: neither it nor a child of its."""
        self._reader.join(SECONDS)
        assert not self._reader.is_alive(), "somebody still runs"

    def signal(self, number: int) -> None:
        self.popen.send_signal(number)

    def wait(self) -> int:
        return self.popen.wait(SECONDS)

    def stop(self) -> int:
        self.signal(signal.SIGTERM)
        return self.wait()


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/errands.db"


@pytest.fixture
def environment(url: str) -> dict[str, str]:
    ours = {k: v for k, v in os.environ.items() if not k.startswith(("ERRANDS_", "NO_COLOR"))}
    return {**ours, "ERRANDS_URL": url, "PYTHONPATH": str(ROOT), "TERM": "xterm-256color"}


@pytest.fixture
def errands(tmp_path: Path, environment: dict[str, str]) -> Callable[..., Answer]:
    """Run a command to its end."""

    def run(*arguments: str, **more: str) -> Answer:
        return Answer(
            subprocess.run(
                [sys.executable, "-m", "errands.cli.main", *arguments],
                cwd=tmp_path,
                env={**environment, **more},
                capture_output=True,
                text=True,
                timeout=SECONDS,
                check=False,
            )
        )

    return run


@pytest.fixture
def on_terminal(tmp_path: Path, environment: dict[str, str]) -> Callable[..., str]:
    """What a command shows on a terminal."""

    def run(*arguments: str, **more: str) -> str:
        ours, theirs = pty.openpty()
        process = subprocess.Popen(
            [sys.executable, "-m", "errands.cli.main", *arguments],
            cwd=tmp_path,
            env={**environment, "COLUMNS": "160", **more},
            stdin=subprocess.DEVNULL,
            stdout=theirs,
            stderr=theirs,
        )
        os.close(theirs)
        shown = b""
        try:
            while some := os.read(ours, 65536):
                shown += some
        except OSError:
            pass  # this is how a terminal says that nobody is left at its other end
        os.close(ours)
        process.wait(SECONDS)
        return shown.decode()

    return run


@pytest.fixture
def start(tmp_path: Path, environment: dict[str, str]) -> Iterator[Callable[..., Process]]:
    """Start a worker, and go on; it is killed after the test, if it still runs."""
    with _starting(tmp_path, environment) as begin:

        def start_worker(*given: str, target: str = "tests.cli.shop:app", **more: str) -> Process:
            return begin("worker", target, *given, **more)

        yield start_worker


@pytest.fixture
def serve(
    tmp_path: Path, environment: dict[str, str]
) -> Iterator[Callable[..., tuple[Process, str]]]:
    """Start a server with the shop in it, on the test's store; gives its URL too."""
    with _starting(tmp_path, environment) as begin:

        def start_server(port: int = 0) -> tuple[Process, str]:
            server = begin("dev", "tests.cli.shop:app", "--no-reload", "--port", str(port))
            return server, server.wait_line(r"(http://127\.0\.0\.1:\d+)")[1]

        yield start_server


@pytest.fixture
def beside(tmp_path: Path, environment: dict[str, str]) -> Iterator[Callable[..., Process]]:
    """Start any command, and go on."""
    with _starting(tmp_path, environment) as begin:
        yield begin


@contextmanager
def _starting(folder: Path, environment: dict[str, str]) -> Iterator[Callable[..., Process]]:
    started: list[Process] = []

    def begin(*arguments: str, **more: str) -> Process:
        popen = subprocess.Popen(
            [sys.executable, "-m", "errands.cli.main", *arguments],
            cwd=folder,
            env={**environment, **more},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        started.append(Process(popen))
        return started[-1]

    yield begin
    for process in started:
        process.popen.kill()
        process.popen.wait()
        process.wait_silence()
        assert process.popen.stdout is not None
        process.popen.stdout.close()


@pytest.fixture
def sending(url: str) -> Callable[[], Any]:
    """`with sending():` the shop's jobs can be enqueued into the test's store."""

    @contextmanager
    def connected() -> Iterator[App]:
        backend = open_backend_for(url, shop.app)
        with shop.app.use_backend(backend):
            try:
                yield shop.app
            finally:
                backend.close()

    return connected
