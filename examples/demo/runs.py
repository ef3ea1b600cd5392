"""What errands tells of its runs, asked as an operator would: over its HTTP API, with the token."""

import asyncio
from collections.abc import Callable
from typing import Literal, Self, TypeVar

import httpx2
import msgspec

from examples.demo.customer import expect_ok

T = TypeVar("T")
LOOK_SECONDS = 0.3


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
    status: Literal["pending", "processing", "completed", "failed", "cancelled"]
    ended_at: int | None
    steps: list[Step] = []

    @property
    def is_final(self) -> bool:
        return self.ended_at is not None

    def kept(self, at: float = float("inf")) -> list[Step]:
        """The steps that were finished by then (Unix ms), and so never execute again."""
        return [
            step for step in self.steps if step.finished_at is not None and step.finished_at <= at
        ]


class RunPage(msgspec.Struct, frozen=True):
    runs: list[Run]


class Operator:
    """Has the API token of the errands in the shop."""

    def __init__(self, url: str, token: str) -> None:
        headers = {"Authorization": f"Bearer {token}"}
        self._http = httpx2.AsyncClient(
            base_url=f"{url}/errands/api", headers=headers, timeout=30, trust_env=False
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *of_error: object) -> None:
        await self._http.aclose()

    async def list_runs(self) -> list[Run]:
        return (await self._get("/runs", RunPage)).runs

    async def show_run(self, id: str) -> Run:
        """One run with its steps."""
        return await self._get(f"/runs/{id}", Run)

    async def _get(self, path: str, kind: type[T]) -> T:
        return msgspec.json.decode(expect_ok(await self._http.get(path)).content, type=kind)


class Follower:
    """Looks at all runs again and again, and tells what is new."""

    def __init__(self, operator: Operator, tell: Callable[[Run, list[Step]], None]) -> None:
        """tell: called with the steps of a run that have begun or finished since the last look."""
        self.runs: dict[str, Run] = {}
        """By function: in the demo each has one run."""
        self._operator, self._tell = operator, tell
        self._lock = asyncio.Lock()
        self._looked = asyncio.Condition()

    async def follow(self) -> None:
        """Until cancelled."""
        while True:
            try:
                await self.look()
            except httpx2.TransportError:
                pass  # the shop is dead; it will be back
            await asyncio.sleep(LOOK_SECONDS)

    async def look(self) -> None:
        """Look once, now."""
        # One at a time, so that what was read earlier does not replace what was read later.
        async with self._lock:
            runs = await self._operator.list_runs()
            changing = [run.id for run in runs if not self._is_over(run.function)]
            for run in await asyncio.gather(*map(self._operator.show_run, changing)):
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
