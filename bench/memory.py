"""Resident memory of a worker's process: idle, and what sleeping runs add."""

import asyncio
import sys
import time
from pathlib import Path

import psutil

from bench.floor import Writer
from bench.load import TEXT, USER, rate
from bench.look import Look
from bench.toy import Toy

MIB = 1024 * 1024
HOUR_MS = 3_600_000
WARM_JOBS = 20_000
"""Executed before: what they leave in the allocator is not the sleepers'."""
IDLE_SECONDS = 1.0


def resident_mib() -> float:
    return psutil.Process().memory_info().rss / MIB


async def idle_mib(folder: Path, n: int) -> float:
    toy = Toy(folder)
    async with toy.app.worker():
        await asyncio.sleep(IDLE_SECONDS)
        return resident_mib()


async def floor_idle_mib(folder: Path, n: int) -> float:
    """Python, asyncio, uvloop and SQLite."""
    Writer(folder)
    await asyncio.sleep(IDLE_SECONDS)
    return resident_mib()


async def sleeping_mib(folder: Path, n: int) -> float:
    """What a worker has grown by, after it took to their sleep n runs that another process sent."""
    toy = Toy(folder)

    async def one() -> None:
        await (await toy.noop.enqueue(USER, TEXT)).result()

    async with toy.app.worker():
        await rate(one, min(WARM_JOBS, n), 100)
        before = resident_mib()
        sender = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "bench.memory", str(folder), str(n)
        )
        assert await sender.wait() == 0
        with Look(toy.path) as look:
            await look.wait("SELECT count(*) FROM timer", n)
            await look.wait("SELECT count(*) FROM item WHERE place = 4", n)
        await asyncio.sleep(IDLE_SECONDS)
        return resident_mib() - before


async def send_sleepers(folder: Path, n: int) -> None:
    toy = Toy(folder)
    far = time.time_ns() // 1_000_000 + HOUR_MS
    await toy.enqueue_naps([far + k for k in range(n)])
    toy.close()


if __name__ == "__main__":
    asyncio.run(send_sleepers(Path(sys.argv[1]), int(sys.argv[2])))
