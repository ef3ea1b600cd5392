"""The demo's other processes: each in a group of its own, none left behind."""

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import Self

ROOT = Path(__file__).parents[2]
"""The checkout: `examples` is imported from there."""


class Process:
    """One that runs beside the demo; what it writes goes to its log."""

    def __init__(self, popen: subprocess.Popen[str], log: Path) -> None:
        self.popen = popen
        self.log = log

    @property
    def pid(self) -> int:
        return self.popen.pid

    @property
    def exit_code(self) -> int | None:
        """None while it runs; the number of the signal, negative, that ended it."""
        return self.popen.poll()

    def last_words(self) -> str:
        return self.log.read_text(errors="replace")[-3_000:].strip()


class Processes:
    """Starts and ends processes. All end with the `with`, and also if the demo itself is killed."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __enter__(self) -> Self:
        self._guard = subprocess.Popen(
            [sys.executable, "-m", "examples.demo.guard"],
            stdin=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            start_new_session=True,
        )
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        stack: TracebackType | None,
    ) -> None:
        self._guard.communicate()

    def start(self, name: str, *command: str) -> Process:
        """Start it with the demo's environment, from the checkout's root."""
        log = self.folder / f"{name}.log"
        with log.open("a") as file:
            popen = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                text=True,
                cwd=ROOT,
                env={**os.environ, "PYTHONPATH": str(ROOT)},
                start_new_session=True,
            )
        self._tell_guard(f"+{popen.pid}")
        return Process(popen, log)

    def kill(self, process: Process) -> None:
        """`kill -9`, for the process and its children."""
        os.killpg(process.pid, signal.SIGKILL)
        process.popen.wait()
        self._tell_guard(f"-{process.pid}")

    async def stop(self, process: Process) -> int:
        """Ask it to end, and wait; gives its exit code."""
        process.popen.terminate()
        exit_code = await asyncio.to_thread(process.popen.wait)
        self._tell_guard(f"-{process.pid}")
        return exit_code

    def _tell_guard(self, line: str) -> None:
        assert self._guard.stdin is not None
        self._guard.stdin.write(line + "\n")
        self._guard.stdin.flush()
