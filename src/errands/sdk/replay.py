"""Results handed to the code one at a time, in the order in which they were first seen.

Whether they are fresh or remembered makes no difference: `asyncio.wait(FIRST_COMPLETED)` and lists
that branches append to then come out the same on every replay. Between two results the loop has to
go quiet, so that whatever the first one set off has run to its next wait.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Collection, Iterable

QUIET_PASSES = 16
"""Passes of the loop after which woken code has reached its next wait: a gather, a TaskGroup, a
wait_for take two each, wherever they are nested. Fewer where the loop shows that it is idle.
"""


class Turns:
    """The line in which results wait for the code to ask, and the code for their turn.

    A fresh result stands in it from the moment its number is given, before it is durable: the line
    is in the order of the numbers, and so is every replay.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        remembered: Iterable[str],
        when_quiet: Callable[[], None],
    ) -> None:
        self._loop = loop
        self._line: deque[str] = deque(remembered)
        self._remembered: dict[str, None] = dict.fromkeys(self._line)
        self._pending: dict[str, None] = {}
        """Of the line: what is not durable yet."""
        self._asked: dict[str, asyncio.Future[None]] = {}
        self._passes = 0
        """How many more to let go by."""
        self._when_quiet = when_quiet
        # What asyncio's own loop is about to call; uvloop does not show it.
        self._ready: Collection[object] | None = getattr(loop, "_ready", None)
        self.is_parallel = False
        """More than one branch asks for steps; with one, there is no order to keep."""

    @property
    def is_replaying(self) -> bool:
        """Is there a remembered result that the code has not been given?"""
        return bool(self._remembered)

    @property
    def head(self) -> str | None:
        """The next result in line."""
        return self._line[0] if self._line else None

    @property
    def unasked(self) -> str | None:
        """The first remembered result that nobody has asked for."""
        return next((id for id in self._remembered if id not in self._asked), None)

    @property
    def asked(self) -> Collection[str]:
        """Results that code stands and waits for."""
        return self._asked

    def __contains__(self, id: str) -> bool:
        return id in self._line

    # -- results -------------------------------------------------------------------------------

    def reserve(self, id: str) -> None:
        """A result gets its number; it comes when it is durable."""
        self._line.append(id)
        self._pending[id] = None

    def settle(self, id: str) -> None:
        """A reserved result is durable."""
        del self._pending[id]
        if self.is_parallel:
            self.stir()

    def push(self, id: str) -> None:
        """A result is there."""
        self._line.append(id)
        self.stir()

    def forget(self, id: str) -> None:
        """Nobody will ever see this result."""
        self._asked.pop(id, None)
        self._pending.pop(id, None)
        self._remembered.pop(id, None)
        if id in self._line:
            self._line.remove(id)
            self.stir()

    # -- code ----------------------------------------------------------------------------------

    def take_now(self, id: str) -> bool:
        """Take it without waiting, if there is no order to keep."""
        if self.is_parallel or self._passes or not self._line or self._line[0] != id:
            return False
        self._pop()
        return True

    async def take(self, id: str) -> None:
        """Wait until it is this result's turn."""
        if self.take_now(id):
            return
        future = self._asked[id] = self._loop.create_future()
        self.stir()
        await future

    def stir(self) -> None:
        """Something has been set off: let the loop go quiet, then look whose turn it is."""
        if not self._passes:
            self._loop.call_soon(self._pass)
        self._passes = QUIET_PASSES if self.is_parallel else 1

    def _pass(self) -> None:
        self._passes -= 1
        if self._passes and (self._ready is None or self._ready):
            self._loop.call_soon(self._pass)
            return
        self._passes = 0
        if not self._give():
            self._when_quiet()

    def _give(self) -> bool:
        """Give the next result to whoever stands there for it."""
        if not self._line or self._line[0] in self._pending:
            return False
        future = self._asked.pop(self._line[0], None)
        if future is None:
            return False
        self._pop()
        if not future.done():
            future.set_result(None)
        self.stir()
        return True

    def _pop(self) -> None:
        id = self._line.popleft()
        if self._remembered:
            self._remembered.pop(id, None)
