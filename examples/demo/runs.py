"""What errands tells about its runs, asked as an operator would: `errands runs list` and `show`."""

import asyncio
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import msgspec

from examples.demo.failure import DemoFailed

ERRANDS = str(Path(sys.executable).with_name("errands"))
"""The command, as installed beside this Python."""


class Step(msgspec.Struct, frozen=True, rename="camel"):
    id: str
    kind: str
    status: str
    attempt: int = 0
    started_at: int | None = None
    finished_at: int | None = None
    """Unix milliseconds; None: not finished."""


class Run(msgspec.Struct, frozen=True, rename="camel"):
    id: str
    function: str
    status: Literal["pending", "processing", "completed", "failed"]
    steps: list[Step] = []

    @property
    def is_final(self) -> bool:
        return self.status in ("completed", "failed")

    def kept(self) -> list[Step]:
        """The steps that are finished, and so never execute again."""
        return [step for step in self.steps if step.finished_at is not None]


async def list_runs() -> list[Run]:
    return msgspec.json.decode(await _errands("runs", "list", "--json"), type=list[Run])


async def show_run(id: str) -> Run:
    """One run with its steps."""
    return msgspec.json.decode(await _errands("runs", "show", id, "--json"), type=Run)


async def _errands(*arguments: str) -> bytes:
    process = await asyncio.create_subprocess_exec(
        ERRANDS,
        *arguments,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,  # a Ctrl-C is for the demo
    )
    try:
        answer, complaint = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
    if process.returncode:
        raise DemoFailed(f"errands {' '.join(arguments)} failed: {complaint.decode().strip()}")
    return answer


class Follower:
    """Looks at all runs again and again, and tells what is new."""

    def __init__(self, tell: Callable[[Run, list[Step]], None]) -> None:
        """tell: called with the steps of a run that have begun or finished since the last look."""
        self.runs: dict[str, Run] = {}
        """By function: in the demo each has one run."""
        self._tell = tell
        self._lock = asyncio.Lock()
        self._looked = asyncio.Condition()

    async def follow(self) -> None:
        """Until cancelled."""
        while True:
            await self.look()
            await asyncio.sleep(0.2)

    async def look(self) -> None:
        """Look once, now."""
        # One at a time, so that what was read earlier does not replace what was read later.
        async with self._lock:
            changing = [run.id for run in await list_runs() if not self._is_over(run.function)]
            for run in await asyncio.gather(*map(show_run, changing)):
                before = self.runs[run.function].steps if run.function in self.runs else []
                self.runs[run.function] = run
                self._tell(run, [step for step in run.steps if step not in before])
        async with self._looked:
            self._looked.notify_all()

    def _is_over(self, function: str) -> bool:
        return function in self.runs and self.runs[function].is_final

    async def wait(self, function: str, condition: Callable[[Run], bool]) -> Run:
        """The run of this function, once the condition holds."""
        async with self._looked:
            await self._looked.wait_for(
                lambda: function in self.runs and condition(self.runs[function])
            )
        return self.runs[function]
