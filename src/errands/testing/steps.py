"""Where steps execute: made to fail, or given a result, as a test says; and seen."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from types import CoroutineType
from typing import Any

import msgspec

from errands.model.ids import RunId


class Execution(msgspec.Struct):
    """A step that executes right now."""

    run: RunId
    step: str
    attempt: int
    task: "asyncio.Task[Any] | None"

    @property
    def place(self) -> str:
        """at shop.py:12 (charge)": the innermost code of an `async def` that waits; else ""."""
        coroutine: Any = None if self.task is None else self.task.get_coro()
        frame: Any = None
        while isinstance(coroutine, CoroutineType):
            coroutine, frame = coroutine.cr_await, coroutine.cr_frame
        if frame is None or "/errands/sdk/" in frame.f_code.co_filename:
            return ""
        code = frame.f_code
        return f" at {code.co_filename}:{frame.f_lineno} ({code.co_qualname})"


class StepRules:
    """What the test has said about steps, by function id and step id."""

    def __init__(self, started: Callable[[RunId, str], None]) -> None:
        self.executing: dict[tuple[RunId, str], Execution] = {}
        self._started = started
        self._fails: dict[tuple[str, str], deque[BaseException]] = {}
        self._fakes: dict[tuple[str, str], object] = {}
        self._met: dict[tuple[str, str], None] = {}
        """Steps that have come to execution."""

    @property
    def unmet(self) -> list[str]:
        """Rules about steps that never came: misspelt, most often."""
        asked = dict.fromkeys([*self._fails, *self._fakes])
        return [
            f"{step!r} of {function!r}"
            for function, step in asked
            if (function, step) not in self._met
        ]

    def fail(self, function: str, step: str, times: int, error: BaseException) -> None:
        self._fails.setdefault((function, step), deque()).extend([error] * times)

    def fake(self, function: str, step: str, result: object) -> None:
        self._fakes[function, step] = result

    async def execute(
        self, session: Any, key: str, attempt: int, call: Callable[[], Awaitable[Any]]
    ) -> Any:
        """In place of `call`: see `LiveCaller.execute_step`."""
        self._started(session.run, key)
        rule = (session.function_id, key)
        self._met[rule] = None
        if errors := self._fails.get(rule):
            # One and the same error may be raised many times: not with the stack of the last time.
            raise errors.popleft().with_traceback(None)
        if rule in self._fakes:
            return self._fakes[rule]
        here = (session.run, key)
        mine = self.executing[here] = Execution(session.run, key, attempt, asyncio.current_task())
        try:
            return await call()
        finally:
            if self.executing.get(here) is mine:
                del self.executing[here]
