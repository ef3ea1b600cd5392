"""The App that the command line's tests work with."""

import asyncio
import logging
from pathlib import Path

from errands import App, Event, NonRetriableError, Retries, progress, step

app = App("shop")


class Paid(Event, name="paid"):
    order_id: str


@app.job
async def add(a: int, b: int = 1) -> int:
    logging.getLogger("shop").warning("adding %d", a)
    return await step.run("sum", total, a, b)


def total(a: int, b: int) -> int:
    return a + b


@app.job
async def hold(folder: str) -> str:
    """Executes until the file `go` is there; says in `begun` that it does."""
    progress.set(40, "holding")
    Path(folder, "begun").touch()
    while not Path(folder, "go").exists():  # noqa: ASYNC110 - told by another process
        await asyncio.sleep(0.01)
    return "held"


@app.job(retries=0)
async def refuse(why: str) -> None:
    raise NonRetriableError(why)


@app.job(retries=Retries(1, delay="10ms", jitter=False))
async def twice(folder: str) -> str:
    """Fails the first time."""
    return await step.run("flaky", flaky, folder)


def flaky(folder: str) -> str:
    been = Path(folder, "been")
    if not been.exists():
        been.touch()
        raise ValueError("not yet")
    return "now"


@app.job(retries=0)
async def shout(text: str) -> None:
    """Has this text wherever a run has words of its own."""
    progress.set(50, text)
    logging.getLogger("shop").warning(text)
    raise ValueError(text)


@app.job
async def nap() -> None:
    await step.sleep("night", "8h")


@app.function(on=Paid)
async def thank(event: Paid) -> str:
    return f"thanks for {event.order_id}"


class Refund(Event, name="refund"):
    order_id: str


@app.function(on=Refund, retries=0)
async def pay_back(event: Refund) -> None:
    raise ValueError(f"no money for {event.order_id}")


class Signed(Event, name="signed"):
    folder: str


@app.function(on=Signed)
async def deliver(event: Signed) -> str:
    """Executes until the file `go` is there, between two steps."""
    await step.run("pack", total, 1, 2)
    await hold_on(event.folder)
    return await step.run("ship", str, "shipped")


async def hold_on(folder: str) -> None:
    progress.set(50, "on its way")
    while not Path(folder, "go").exists():  # noqa: ASYNC110 - told by another process
        await asyncio.sleep(0.01)
