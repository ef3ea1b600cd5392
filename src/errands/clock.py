"""The only place that reads the time or draws at random; both can be replaced."""

import asyncio
import random
import threading
import time
from collections.abc import Callable
from typing import Protocol

from errands.model.ids import COUNTER_BITS, make_id


class Clock(Protocol):
    def now(self) -> int:
        """Unix milliseconds."""
        ...


class SystemClock:
    def now(self) -> int:
        return time.time_ns() // 1_000_000


class Alarm(Protocol):
    def cancel(self) -> None: ...


class Alarms(Protocol):
    def call_at(self, ms: int, call: Callable[[], None]) -> Alarm:
        """Call it in the running loop at this time (Unix ms), not earlier."""
        ...


class SystemAlarms:
    """By the loop's clock, looking at the wall clock again at least once a minute: it may jump."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    def call_at(self, ms: int, call: Callable[[], None]) -> Alarm:
        return _SystemAlarm(self._clock, ms, call)


class _SystemAlarm:
    def __init__(self, clock: Clock, ms: int, call: Callable[[], None]) -> None:
        self._clock, self._ms, self._call = clock, ms, call
        self._loop = asyncio.get_running_loop()
        self._handle: asyncio.Handle | None = None
        self._arm()

    def _arm(self) -> None:
        left = self._ms - self._clock.now()
        if left <= 0:
            self._handle = self._loop.call_soon(self._call)
        else:
            self._handle = self._loop.call_later(min(left, 60_000) / 1000, self._arm)

    def cancel(self) -> None:
        if self._handle is not None:
            self._handle.cancel()


class IdSource:
    """Ids of one node: never the same twice, never smaller than the one before. Thread-safe."""

    def __init__(self, node: int, clock: Clock) -> None:
        self._node, self._clock = node, clock
        self._ms, self._counter = clock.now(), 0
        self._lock = threading.Lock()

    def tick(self) -> None:
        """Look at the clock: ids from here on are of this millisecond. Once a batch, not once an
        id.
        """
        with self._lock:
            now = self._clock.now()
            if now > self._ms:
                self._ms, self._counter = now, -1

    def __call__(self) -> int:
        with self._lock:
            # The clock stands still, or went back; a full millisecond borrows from the next.
            self._counter += 1
            if self._counter >> COUNTER_BITS:
                self._ms, self._counter = self._ms + 1, 0
            return make_id(self._ms, self._node, self._counter)


class Chance:
    """Random numbers for jitter."""

    def __init__(self, seed: int | None = None) -> None:
        self._random = random.Random(seed)

    def draw(self) -> float:
        return self._random.random()
