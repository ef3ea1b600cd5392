"""What an executing run offers to the code in it: `step`, `progress`, `sync` and logging."""

import asyncio
import concurrent.futures
import contextvars
from collections.abc import Callable, Coroutine
from typing import Any, Protocol, TypeVar

from errands.model.event import NewEvent
from errands.model.ids import RunId
from errands.model.job import NewJob
from errands.model.step import ShapeOf, StepKind
from errands.sdk.codec import Codec
from errands.sdk.definition import Definition
from errands.sdk.options import Retries
from errands.sdk.owner import Owner

T = TypeVar("T")


class Session(Protocol):
    """A run being executed, seen from its own code. Found by `context.SESSION`."""

    @property
    def loop(self) -> asyncio.AbstractEventLoop: ...
    @property
    def run(self) -> RunId: ...
    @property
    def public_id(self) -> str: ...
    @property
    def app(self) -> Owner: ...
    @property
    def app_id(self) -> str: ...
    @property
    def function_id(self) -> str: ...
    @property
    def definition(self) -> Definition: ...
    @property
    def attempt(self) -> int: ...
    @property
    def started_at(self) -> int: ...
    @property
    def value_bytes_max(self) -> int: ...

    def run_step(
        self,
        id: str,
        function: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        codec: Codec[T],
        retries: Retries,
        timeout_ms: int | None,
    ) -> Coroutine[Any, Any, T]:
        """Execute it once and keep its result."""
        ...

    def send(self, id: str, items: tuple[NewEvent | NewJob, ...]) -> Coroutine[Any, Any, list[str]]:
        """Send events or enqueue jobs, once; gives their ids."""
        ...

    def wait(
        self,
        id: str,
        kind: StepKind,
        codec: Codec[T],
        *,
        duration_ms: int | None = None,
        until: int | None = None,
        shape: Callable[[], ShapeOf] | None = None,
        child: Callable[[], NewJob] | None = None,
    ) -> Coroutine[Any, Any, T]:
        """Wait durably: for time, an event, or the end of another run."""
        ...

    def run_event(self) -> dict[str, Any]:
        """What started the run, as expressions see it."""
        ...

    def carry(
        self,
        call: Coroutine[Any, Any, Any],
        context: contextvars.Context,
        done: "concurrent.futures.Future[Any]",
    ) -> None:
        """Do this on the loop for a thread that waits for `done`."""
        ...

    def set_progress(self, percent: float | None, note: str | None) -> None:
        """From any thread."""
        ...

    def log(self, level: int, text: str, step: tuple[str, int] | None) -> None:
        """From any thread."""
        ...
