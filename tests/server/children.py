"""Servers in processes of their own, asked over HTTP."""

import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

ROOT = Path(__file__).parents[2]
SECONDS = 30.0
"""At most, for what takes a second when the machine is not busy."""
ERRANDS = ("-m", "errands.cli.main")
KEYS = {
    "ERRANDS_EVENT_KEY": "event-key-of-this-test",
    "ERRANDS_SIGNING_KEY": "signing-key-of-this-test",
    "ERRANDS_API_TOKEN": "api-token-of-this-test",
}
BEARER = {"Authorization": f"Bearer {KEYS['ERRANDS_API_TOKEN']}"}
SHOP = """
import asyncio
from errands import App, Event

app = App("shop")


class Ordered(Event, name="shop/ordered"):
    item: str


@app.function(on=Ordered)
async def pack(event: Ordered) -> str:
    return f"packed {event.item}"


@app.job(retries=0)
async def refuse(why: str) -> None:
    raise ValueError(why)
"""


def environment(**more: str) -> dict[str, str]:
    ours = {k: v for k, v in os.environ.items() if not k.startswith(("ERRANDS_", "INNGEST_"))}
    return {**ours, "PYTHONUNBUFFERED": "1", **more}


class Running:
    """A process whose output, both streams of it, is kept line by line."""

    def __init__(
        self,
        command: Sequence[str],
        folder: Path,
        env: Mapping[str, str] | None = None,
        executable: str = sys.executable,
    ) -> None:
        self.process = subprocess.Popen(
            [executable, *command],
            cwd=folder,
            env=environment(**(env or {})),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
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

    @property
    def said(self) -> str:
        return "".join(self.lines)

    def wait_said(self, pattern: str, since: int = 0) -> "re.Match[str]":
        """The first line, of those from `since` on, that has this in it."""

        def found() -> "re.Match[str] | None":
            matches = (re.search(pattern, line) for line in self.lines[since:])
            return next((one for one in matches if one is not None), None)

        with self._heard:
            self._heard.wait_for(lambda: found() or not self._reader.is_alive(), SECONDS)
            one = found()
        assert one is not None, f"nobody has said {pattern!r}:\n{self.said}"
        return one

    def url(self) -> str:
        return self.wait_said(r"(http://\S+:\d+)")[1]

    def signal(self, number: int) -> None:
        self.process.send_signal(number)

    def wait(self) -> int:
        code = self.process.wait(SECONDS)
        self._reader.join(SECONDS)
        assert not self._reader.is_alive(), "a child of it is still there"
        return code

    def stop(self) -> int:
        self.process.terminate()
        return self.wait()

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.wait()
        assert self.process.stdout is not None
        self.process.stdout.close()


def wait_until(is_so: Callable[[], object], what: str) -> None:
    """Another process cannot signal us, so look."""
    end = time.monotonic() + SECONDS
    while not is_so():
        assert time.monotonic() < end, f"after {SECONDS} s still not so: {what}"
        time.sleep(0.02)
