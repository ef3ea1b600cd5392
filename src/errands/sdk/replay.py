"""Results handed to the code one at a time, in the order in which they were first seen.

Whether they are fresh or remembered makes no difference: `asyncio.wait(FIRST_COMPLETED)` and lists
that branches append to then come out the same on every replay. Between two results the loop has to
go quiet, so that whatever the first one set off has run to its next wait.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Iterable

QUIET_ROUNDS = 8
"""Passes of the loop after which woken code has reached its next wait: nested gathers take two each."""


class Turns:
    """The line in which results wait for the code to ask, and the code for their turn."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        remembered: Iterable[str],
        when_idle: Callable[[], None],
    ) -> None:
        self._loop = loop
        self._line: deque[str] = deque(remembered)
        self._remembered = len(self._line)
        self._asked: dict[str, asyncio.Future[None]] = {}
        self._given_up: dict[str, None] = {}
        self._rounds = 0
        self._when_idle = when_idle
        self.is_parallel = False
        """More than one branch asks for steps; with one, there is no order to keep."""

    @property
    def is_replaying(self) -> bool:
        return self._remembered > 0

    @property
    def is_busy(self) -> bool:
        """Something has been handed out, and the loop is not quiet yet."""
        return self._rounds > 0

    @property
    def head(self) -> str | None:
        """The next result in line."""
        return self._line[0] if self._line else None

    def is_asked(self, id: str) -> bool:
        return id in self._asked

    def __contains__(self, id: str) -> bool:
        return id in self._line

    def push(self, id: str) -> None:
        """A result is there; its turn comes after those that came before."""
        self._line.append(id)
        if id in self._asked:
            self._start()

    async def take(self, id: str) -> None:
        """Wait until it is this result's turn."""
        if not self.is_parallel and not self._rounds and self._line and self._line[0] == id:
            self._pop()
            return
        future = self._asked[id] = self._loop.create_future()
        self._start()
        try:
            await future
        except asyncio.CancelledError:
            if self._asked.pop(id, None) is not None:
                self._given_up[id] = None
                self._start()
            raise

    def stir(self) -> None:
        """Something else has been set off: let the loop go quiet, then look again."""
        self._start()

    def _pop(self) -> str:
        self._remembered = max(0, self._remembered - 1)
        return self._line.popleft()

    def _start(self) -> None:
        if not self._rounds:
            self._rounds = QUIET_ROUNDS if self.is_parallel else 1
            self._loop.call_soon(self._round)

    def _round(self) -> None:
        self._rounds -= 1
        if self._rounds:
            self._loop.call_soon(self._round)
            return
        while self._line:
            head = self._line[0]
            if head in self._given_up:
                del self._given_up[head]
                self._pop()
                continue
            future = self._asked.pop(head, None)
            if future is None:
                break
            self._pop()
            if not future.done():
                future.set_result(None)
                self._start()
                return
        self._when_idle()
