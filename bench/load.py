"""What floor and errands are both given to do: the same payload and load, timed the same way."""

import asyncio
import itertools
import math
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeAlias

One: TypeAlias = Callable[[], Awaitable[object]]

USER, TEXT = "u1", "x" * 180
PAYLOAD = b'{"user_id":"u1","text":"' + TEXT.encode() + b'"}'
OUTPUT = b'{"ok":true}'
OK = {"ok": True}
STEPS = 5
FIRE_MS = 2_000
"""How long timers fire, evenly."""


async def rate(one: One, n: int, in_flight: int) -> float:
    """Ends per second of `n` calls of `one`, with so many in flight."""
    left = itertools.repeat(None, n)

    async def caller() -> None:
        for _ in left:
            await one()

    started = time.perf_counter()
    await asyncio.gather(*(caller() for _ in range(in_flight)))
    return n / (time.perf_counter() - started)


async def paced(one: One, n: int, every_seconds: float) -> None:
    """Call `one` so often, on a fixed beat."""
    loop = asyncio.get_running_loop()
    begin = loop.time()
    for k in range(n):
        await asyncio.sleep(max(0.0, begin + k * every_seconds - loop.time()))
        await one()


def pair(values: Sequence[float]) -> dict[str, float]:
    """The median, and what one in a hundred exceeds."""
    ordered = sorted(values)
    return {
        name: ordered[min(len(ordered) - 1, math.ceil(part * len(ordered)) - 1)]
        for name, part in (("p50", 0.50), ("p99", 0.99))
    }


def now_ms() -> int:
    return time.time_ns() // 1_000_000


def firing_of(sleepers: int) -> int:
    """How many timers fire beside so many sleepers: 2,000 beside 100,000."""
    return max(sleepers // 50, 1)


def lead_ms(firing: int) -> int:
    """Time to set so many timers, before the first of them fires."""
    return 500 + 2 * firing


def fires_at(begin: int, k: int, firing: int) -> int:
    """Unix ms of the k-th."""
    return begin + k * FIRE_MS // firing


async def noop() -> dict[str, bool]:
    return OK
