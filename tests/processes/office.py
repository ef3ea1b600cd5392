"""The App that the tested processes execute: on ERRANDS_URL, leaving a trail of what they do."""

import asyncio
import contextlib
import time

from errands import App, Event, current_run, step
from tests.processes import trail

app = App("office")
STEPS = ("fetch", "check", "write", "tell")


class Ordered(Event, name="office/ordered"):
    n: int


class Approved(Event, name="office/approved"):
    n: int


async def act(kind: str, n: int, name: str) -> str:
    """A step that takes a moment, differently long."""
    trail.leave("step", kind, n, name, current_run().attempt)
    await asyncio.sleep((n * 7 + len(name) * 13) % 40 / 1000)
    return f"{kind} {n} {name}"


async def all_steps(kind: str, n: int) -> int:
    for name in STEPS:
        assert await step.run(name, act, kind, n, name) == f"{kind} {n} {name}"
    return n


@app.function(on=Ordered)
async def fulfil(event: Ordered) -> int:
    return await all_steps("event", event.n)


@app.job
async def file(n: int) -> int:
    return await all_steps("job", n)


@app.job
async def started(sent_at: float) -> float:
    """Seconds from the call to here."""
    return time.time() - sent_at


@app.job
async def approval(n: int) -> int | None:
    trail.leave("waits", n)
    got = await step.wait_for_event(
        "approved", Approved, if_exp=lambda approved: approved.n == n, timeout="1m"
    )
    return None if got is None else got.n


async def square(n: int) -> int:
    trail.leave("square", n)
    await asyncio.sleep(0.01)
    return n * n


@app.job
async def part(n: int) -> int:
    return await step.run("square", square, n)


@app.job
async def whole(n: int) -> int:
    parts = await asyncio.gather(*(step.invoke(f"part-{i}", part, i) for i in range(n)))
    return sum(parts)


@app.job
async def forever(name: str) -> None:
    trail.leave("forever", name)
    with contextlib.suppress(TimeoutError):
        try:
            await asyncio.sleep(300)
        except asyncio.CancelledError:
            trail.leave("cancelled", name)
            raise


async def linger(name: str, seconds: float) -> str:
    trail.leave("lingers", name)
    await asyncio.sleep(seconds)
    return name


@app.job
async def slow(name: str, seconds: float) -> str:
    first = await step.run("first", linger, f"{name}-first", 0.0)
    second = await step.run("second", linger, f"{name}-second", seconds)
    trail.leave("returns", name)
    return f"{first} {second}"


@app.job
async def echo(text: str) -> str:
    return await step.run("echo", lambda: text)
