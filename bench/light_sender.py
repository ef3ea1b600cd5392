"""A light sender beside two busy workers on one file: what one `app.send` waits for its turn.

`python -m bench.light_sender [N]` prints it, with what the workers get done meanwhile.
"""

import asyncio
import contextlib
import json
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from pathlib import Path

import uvloop

from bench.load import TEXT, USER, paced, pair
from bench.look import Look
from bench.toy import Toy

WORKERS = 2
IN_FLIGHT = 100
"""Five-step jobs that each worker process always has under way; it enqueues them itself."""
EVERY_SECONDS = 0.01
WARM_UP = 500
"""Jobs done before anything is timed."""
DONE = "SELECT count(*) FROM done"


async def measure(folder: Path, n: int) -> dict[str, float]:
    """Milliseconds from the call of `app.send` to its return; one every 10 ms."""
    return (await _measure(folder, n))[0]


async def _measure(folder: Path, n: int) -> tuple[dict[str, float], float]:
    """The milliseconds, and how many jobs a second the workers did beside."""
    toy = Toy(folder)
    waited: list[float] = []

    async def one() -> None:
        begin = time.perf_counter()
        await toy.app.send({"name": "bench/light", "data": {"user_id": USER, "text": TEXT}})
        waited.append((time.perf_counter() - begin) * 1000)

    await one()
    waited.clear()
    async with _busy_workers(folder):
        with Look(toy.path) as look:
            await look.wait(f"SELECT (SELECT count(*) FROM done) >= {WARM_UP}", 1)
            before, begin = look.number(DONE), time.perf_counter()
            await paced(one, n, EVERY_SECONDS)
            done, took = look.number(DONE) - before, time.perf_counter() - begin
    toy.close()
    return {**pair(waited), "max": max(waited)}, done / took


@contextlib.asynccontextmanager
async def _busy_workers(folder: Path) -> AsyncIterator[None]:
    command = (sys.executable, "-m", "bench.light_sender", "--busy", str(folder))
    workers = [await asyncio.create_subprocess_exec(*command) for _ in range(WORKERS)]
    try:
        yield
        assert all(worker.returncode is None for worker in workers), "a worker has ended"
    finally:
        for worker in workers:
            with contextlib.suppress(ProcessLookupError):
                worker.kill()
            await worker.wait()


async def _be_busy(folder: Path) -> None:
    toy = Toy(folder)

    async def one_by_one() -> None:
        while True:
            job = await toy.five.enqueue(USER, TEXT)
            await job.result()

    async with toy.app.worker(concurrency=IN_FLIGHT):
        await asyncio.gather(*(one_by_one() for _ in range(IN_FLIGHT)))


async def _show(n: int) -> None:
    with tempfile.TemporaryDirectory(prefix="errands-bench-") as folder:
        waited, per_second = await _measure(Path(folder), n)
    shown = {name: round(value, 2) for name, value in waited.items()}
    print(json.dumps({**shown, "jobs_per_second": round(per_second)}))


if __name__ == "__main__":
    if sys.argv[1:2] == ["--busy"]:
        uvloop.run(_be_busy(Path(sys.argv[2])))
    else:
        uvloop.run(_show(int(sys.argv[1]) if len(sys.argv) > 1 else 500))
