"""The processes that a test starts, and what it does to them."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

ROOT = Path(__file__).parents[2]
COMMAND = "import sys; from errands.cli.main import main; main()"
PATIENCE_SECONDS = 30.0


class Child:
    """A real process. Its stderr is kept, to be shown when something is not as expected."""

    def __init__(self, command: Sequence[str], environment: dict[str, str]) -> None:
        self.process = subprocess.Popen(
            [sys.executable, *command],
            cwd=ROOT,
            env=os.environ | environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.pid = self.process.pid
        self.lines: list[str] = []
        self._heard = threading.Condition()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            with self._heard:
                self.lines.append(line)
                self._heard.notify_all()
        with self._heard:
            self._heard.notify_all()

    def wait_said(self, words: str, times: int = 1) -> None:
        """Until it has written a line with these words."""

        def has_said() -> bool:
            return sum(words in line for line in self.lines) >= times

        def is_over() -> bool:
            return has_said() or not self._reader.is_alive()

        with self._heard:
            self._heard.wait_for(is_over, PATIENCE_SECONDS)
            assert has_said(), f"{self.pid} has not said {words!r}:\n{''.join(self.lines)}"

    def kill(self) -> None:
        """kill -9."""
        self.process.kill()
        self.wait()

    def stop(self) -> None:
        self.process.send_signal(signal.SIGSTOP)
        wait_until(lambda: _state(self.pid) == "T", "the process is stopped")

    def go_on(self) -> None:
        self.process.send_signal(signal.SIGCONT)

    def terminate(self) -> int:
        self.process.terminate()
        return self.wait()

    def wait(self) -> int:
        code = self.process.wait(PATIENCE_SECONDS)
        self._reader.join(PATIENCE_SECONDS)
        assert self.process.stdout is not None
        self.process.stdout.close()
        return code


class Office:
    """A store, the trail, and the processes that work on it."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "errands.db"
        self.trail = folder / "trail"
        self.environment = {
            "ERRANDS_URL": f"sqlite:///{self.path}",
            "ERRANDS_TRAIL": str(self.trail),
        }
        self.children: list[Child] = []

    def worker(self, concurrency: int = 20, **settings: str) -> Child:
        """A worker process; `works` tells when it executes."""
        command = ["-c", COMMAND, "worker", "tests.processes.office:app"]
        return self.start([*command, "--concurrency", str(concurrency)], **settings)

    def script(self, text: str, *arguments: object) -> Child:
        """A process that runs this Python text, with `app` and its functions at hand."""
        lines = [
            "import asyncio, os, sys, threading, time",
            "from errands import sync",
            "from tests.processes import trail",
            "from tests.processes.office import *",
            text,
        ]
        return self.start(["-c", "\n".join(lines), *map(str, arguments)])

    def start(self, command: Sequence[str], **settings: str) -> Child:
        child = Child(command, self.environment | settings)
        self.children.append(child)
        return child

    def close(self) -> None:
        for child in self.children:
            if child.process.poll() is None:
                child.go_on()
                child.process.kill()
            child.wait()


def works(child: Child) -> Child:
    child.wait_said("concurrency")
    return child


def wait_until(is_so: Callable[[], object], what: str, seconds: float = PATIENCE_SECONDS) -> None:
    """Another process cannot signal us, so look. Fails with `what` if it does not come to be."""
    end = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < end, f"after {seconds} s still not so: {what}"
        time.sleep(0.005)


def _state(pid: int) -> str:
    text = Path(f"/proc/{pid}/stat").read_text()
    return text.rpartition(")")[2].split()[0]
