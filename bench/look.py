"""What the store says, asked on a connection of the bench's own."""

import asyncio
import sqlite3
from pathlib import Path
from types import TracebackType

POLL_SECONDS = 0.005
FAILED = "SELECT output FROM done WHERE status <> 3 LIMIT 1"


class Look:
    def __init__(self, path: Path) -> None:
        self._db = sqlite3.connect(path, isolation_level=None)

    def __enter__(self) -> "Look":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._db.close()

    def number(self, query: str) -> int:
        return int(self._db.execute(query).fetchone()[0])

    async def wait(self, query: str, wanted: int) -> None:
        """Ask until the answer is this. Raises AssertionError when a run has failed."""
        while self.number(query) != wanted:
            failed = self._db.execute(FAILED).fetchone()
            assert failed is None, f"a run has failed: {failed}"
            await asyncio.sleep(POLL_SECONDS)
