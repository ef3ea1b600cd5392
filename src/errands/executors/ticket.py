"""A promise of an answer: awaited in an event loop, or by blocking a thread without one."""

import asyncio
import threading
from collections.abc import Generator
from typing import Any, Generic, TypeVar

T = TypeVar("T")


class Ticket(Generic[T]):
    """Made where it is awaited: in a loop's thread, or in a thread without a loop."""

    __slots__ = ("_answer", "_error", "_event", "_future", "is_done", "loop")

    def __init__(self, loop: asyncio.AbstractEventLoop | None = None) -> None:
        """loop: that of this thread; None: it is looked up, a system call on Python 3.11."""
        self.loop = loop or asyncio._get_running_loop()  # pyright: ignore[reportPrivateUsage]
        self.is_done = False
        self._answer: Any = None
        self._error: BaseException | None = None
        self._future: asyncio.Future[None] | None = None
        self._event = threading.Event() if self.loop is None else None

    def settle(self, answer: Any, error: BaseException | None = None) -> None:
        """Give the answer; in the loop's thread, if it has one."""
        if self.is_done:
            return
        self._answer, self._error, self.is_done = answer, error, True
        if self._event is not None:
            self._event.set()
        elif self._future is not None and not self._future.done():
            self._future.set_result(None)

    def wait(self, timeout: float | None) -> bool:
        """Block this thread; False when the time is up first."""
        assert self._event is not None
        return self._event.wait(timeout)

    def __await__(self) -> Generator[Any, None, T]:
        if not self.is_done:
            if self._event is not None:
                self._event.wait()
            else:
                assert self.loop is not None
                assert self._future is None, "one awaits it"
                self._future = self.loop.create_future()
                yield from self._future
        if self._error is not None:
            raise self._error
        answer: T = self._answer
        return answer
