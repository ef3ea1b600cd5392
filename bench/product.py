"""errands itself: one worker process, through the public SDK, on a real disk."""

import asyncio
import shutil
import time
from pathlib import Path

from bench.load import (
    FIRE_MS,
    TEXT,
    USER,
    fires_at,
    firing_of,
    lead_ms,
    now_ms,
    paced,
    pair,
    rate,
)
from bench.look import Look
from bench.toy import Toy

HOUR_MS = 3_600_000


async def jobs(folder: Path, n: int) -> float:
    """Enqueue, run, hear the result: 1,000 in flight."""
    toy = Toy(folder)

    async def one() -> None:
        job = await toy.noop.enqueue(USER, TEXT)
        await job.result()

    async with toy.app.worker(concurrency=1_000):
        return await rate(one, n, min(1_000, n))


async def runs5(folder: Path, n: int) -> float:
    return await _five(folder, n, 100)


async def runs5_single(folder: Path, n: int) -> float:
    return await _five(folder, n, 1)


async def _five(folder: Path, n: int, in_flight: int) -> float:
    toy = Toy(folder)

    async def one() -> None:
        job = await toy.five.enqueue(USER, TEXT)
        await job.result()

    async with toy.app.worker(concurrency=100):
        return await rate(one, n, min(in_flight, n))


async def drain(folder: Path, n: int) -> float:
    """From the worker's start until the store says that all are done."""
    toy = Toy(folder)
    for at in range(0, n, 1_000):
        jobs = [toy.noop.bind(USER, TEXT) for _ in range(min(1_000, n - at))]
        await toy.app.enqueue_many(jobs)
    with Look(toy.path) as look:
        await look.wait("SELECT count(*) FROM item", n)
        started = time.perf_counter()
        async with toy.app.worker(concurrency=1_000):
            await look.wait("SELECT EXISTS (SELECT 1 FROM item)", 0)
            took = time.perf_counter() - started
        assert look.number("SELECT count(*) FROM done WHERE status = 3") == n
    return n / took


async def latency_ms(folder: Path, n: int) -> dict[str, float]:
    """From the call of `enqueue` to the job's first line; one every 20 ms."""
    toy = Toy(folder)

    async def one() -> None:
        await toy.timed.enqueue(time.perf_counter())

    async with toy.app.worker(concurrency=10):
        await paced(one, n, 0.02)
        with Look(toy.path) as look:
            await look.wait("SELECT count(*) FROM done", n)
    return pair(toy.waited)


async def prepare_sleepers(folder: Path, n: int) -> None:
    """A store in which n runs have come to their sleep."""
    toy = Toy(folder)
    far = now_ms() + HOUR_MS
    async with toy.app.worker(concurrency=1_000):
        await toy.enqueue_naps([far + k for k in range(n)])
        with Look(toy.path) as look:
            await look.wait("SELECT count(*) FROM item WHERE place = 4", n)
    toy.close()


async def lag_ms(folder: Path, n: int, prepared: Path) -> dict[str, float]:
    """Beside n sleepers, others that wake up within 2 s: to the line after their sleep."""
    shutil.copytree(prepared, folder, dirs_exist_ok=True)
    toy, firing = Toy(folder), firing_of(n)
    async with toy.app.worker(concurrency=1_000):
        begin = now_ms() + lead_ms(firing)
        await toy.enqueue_naps([fires_at(begin, k, firing) for k in range(firing)])
        with Look(toy.path) as look:
            await look.wait("SELECT count(*) FROM item WHERE place = 4", n + firing)
            assert now_ms() < begin, "the sleepers came to their sleep too late to be timed"
            # Asked again only when all is over: each question stops the loop for a moment.
            await asyncio.sleep((begin + FIRE_MS - now_ms()) / 1000 + 1)
            await look.wait("SELECT count(*) FROM done", firing)
    return pair(toy.late)
