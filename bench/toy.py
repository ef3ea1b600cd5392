"""The app that is measured: no-op jobs, written as a user would write them."""

import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bench.load import OK
from errands import App, step

CHUNK = 500


class Toy:
    """An app on the store in `folder`."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "errands.db"
        self.app = app = App("bench", url=f"sqlite:///{self.path}")
        self.waited: list[float] = []
        """Of each timed job, milliseconds from the call to its first line."""
        self.late: list[float] = []
        """Of each sleep, milliseconds from its due time to the line after it."""

        async def check() -> dict[str, bool]:
            return OK

        @app.job(retries=0)
        async def noop(user_id: str, text: str) -> dict[str, bool]:
            return OK

        @app.job(retries=0)
        async def five(user_id: str, text: str) -> dict[str, bool]:
            await step.run("one", check)
            await step.run("two", check)
            await step.run("three", check)
            await step.run("four", check)
            await step.run("five", check)
            return OK

        @app.job(retries=0)
        async def timed(asked: float) -> None:
            self.waited.append((time.perf_counter() - asked) * 1000)

        @app.job(retries=0)
        async def nap(until_ms: int) -> None:
            await step.sleep_until("nap", datetime.fromtimestamp(until_ms / 1000, UTC))
            self.late.append(time.time() * 1000 - until_ms)

        self.noop, self.five, self.timed, self.nap = noop, five, timed, nap

    async def enqueue_naps(self, due: Sequence[int]) -> None:
        """Runs that sleep until these times (Unix ms)."""
        for at in range(0, len(due), CHUNK):
            await self.app.enqueue_many([self.nap.bind(ms) for ms in due[at : at + CHUNK]])

    def close(self) -> None:
        backend: Any = self.app.backend
        backend.close()
