"""The app whose functions are simulated: a little of everything that the SDK offers.

Code between steps is deterministic, as users are told it must be. What steps do is not: they are
slow, fail, and give another value each time they are executed.
"""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from errands import App, Cancel, Event, Failure, NonRetriableError, Retries, Timeouts, Trigger, step
from errands.model.errors import StepError
from tests.simulation.book import LIFE, Book, Life
from tests.simulation.loop import VirtualLoop
from tests.simulation.process import Process


class SimulatedApp(App):
    """One app for all processes: each reaches errands through its own backend."""

    async def connected(self) -> Any:
        return here()


def here() -> Process:
    """The process in which this code runs."""
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualLoop)
    return loop.process


app = SimulatedApp("sim", url="sqlite:///unused.db")
QUICKLY = Retries(2, delay="400ms", factor=1.5)


class Boom(Exception):
    pass


# -- what steps do ---------------------------------------------------------------------------------


async def work(id: str) -> int:
    """Slow or not, failing or not; each execution gives another number."""
    life = LIFE.get()
    process, random = life.process, life.process.world.random
    process.book.executes(life, id)
    if random.random() < 0.4:
        await asyncio.sleep(random.choice((0.0, 0.003, 0.3, 2.0)) * random.random())
    if process.world.is_faulty and random.random() < 0.004:
        process.crash("in a step")
        await asyncio.get_running_loop().create_future()
    if random.random() < life.process.world.step_failure:
        raise Boom(f"{id} {random.getrandbits(32)}")
    return random.getrandbits(32)


def plain_work(id: str) -> int:
    life = LIFE.get()
    random = life.process.world.random
    life.process.book.executes(life, id)
    if random.random() < life.process.world.step_failure:
        raise Boom(f"{id} {random.getrandbits(32)}")
    return random.getrandbits(32)


async def never_works(id: str) -> int:
    LIFE.get().process.book.executes(LIFE.get(), id)
    raise Boom(f"{id} never works")


async def do(life: Life, id: str, function: Callable[[str], Any] = work) -> Any:
    """A step; what the code sees of it is written down the moment it sees it."""
    try:
        value = await step.with_options(retries=QUICKLY, returns=int).run(id, function, id)
    except StepError as error:
        return life.saw(id, f"failed: {error.failure.message}")
    return life.saw(id, value)


async def nap(life: Life, id: str, ms: int) -> None:
    book, process = life.book, life.process
    asked_at, asked_time = process.world.now(), process.world.time
    is_first = (life.run, id) not in book.steps
    await step.sleep(id, timedelta(milliseconds=ms))
    life.saw(id, None)
    if is_first and process.is_alive:
        book.slept(life, id, asked_at, asked_time, ms)


def begin() -> Life:
    process = here()
    book: Book = process.book
    return book.begin(process)


# -- functions -------------------------------------------------------------------------------------


class Order(Event, name="sim/order"):
    n: str
    size: int
    key: str = ""


class Race(Event, name="sim/race"):
    n: str
    size: int


class Rest(Event, name="sim/rest"):
    n: str
    ms: int


class Wanted(Event, name="sim/wanted"):
    n: str
    key: str
    least: int
    timeout_ms: int
    style: int


class Paid(Event, name="sim/paid"):
    n: str
    key: str
    amount: int


class Spread(Event, name="sim/spread"):
    n: str
    size: int


class Doomed(Event, name="sim/doomed"):
    n: str
    style: int


class Stop(Event, name="sim/stop"):
    n: str
    key: str


class Family(Event, name="sim/family"):
    n: str
    size: int


@app.function(on=Order, retries=QUICKLY)
async def sequence(event: Order) -> list[tuple[str, Any]]:
    life = begin()
    for n in range(event.size):
        await do(life, f"s{n}", plain_work if n % 3 == 2 else work)
    if event.size > 3:
        await nap(life, "nap", 700)
        await do(life, "after")
    return life.saw_


@app.function(on=Trigger(Order, if_exp=lambda order: order.size > 2), retries=QUICKLY)
async def big_orders_only(event: Order) -> list[tuple[str, Any]]:
    life = begin()
    for _ in range(2):
        await do_numbered(life, "again")
    return life.saw_


async def do_numbered(life: Life, id: str) -> None:
    """The same id twice in a loop: the second is numbered."""
    count = sum(1 for seen, _ in life.saw_ if seen.startswith(id))
    key = id if count == 0 else f"{id}:{count}"
    try:
        value = await step.with_options(retries=QUICKLY).run(id, work, key)
    except StepError as error:
        life.saw(key, f"failed: {error.failure.message}")
    else:
        life.saw(key, value)


@app.function(on=Order, retries=QUICKLY, durability="run")
async def checkpointed(event: Order) -> list[tuple[str, Any]]:
    life = begin()
    await do(life, "a")
    await do(life, "b", plain_work)
    if event.size % 2:
        await nap(life, "nap", 300)
    await do(life, "c")
    return life.saw_


@app.function(on=Race, retries=QUICKLY)
async def racing(event: Race) -> list[tuple[str, Any]]:
    """Which branch comes first decides what is done next: a replay must decide the same."""
    life = begin()
    running = [asyncio.ensure_future(do(life, f"r{n}")) for n in range(event.size)]
    pending = running
    while pending:
        done, _ = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
        winner = next(n for n, task in enumerate(running) if task in done)
        pending = [task for task in pending if task not in done]
        await do(life, f"after-r{winner}-{len(pending)}")
    return life.saw_


@app.function(on=Race, retries=QUICKLY)
async def branches(event: Race) -> list[tuple[str, Any]]:
    """Branches of different kinds, side by side: steps, sleeps, waits."""
    life = begin()

    async def branch(n: int) -> None:
        await do(life, f"b{n}.0")
        if n % 3 == 0:
            await nap(life, f"b{n}.nap", 100 * (n + 1))
        elif n % 3 == 1:
            await wait_for_payment(life, f"b{n}.paid", event.n, 0, 900, 1)
        await do(life, f"b{n}.1")

    await asyncio.gather(*(branch(n) for n in range(event.size)))
    await do(life, "end")
    return life.saw_


@app.function(on=Race, retries=QUICKLY)
async def impatient(event: Race) -> list[tuple[str, Any]]:
    """Gives up on steps that take too long: so it does on every replay."""
    life = begin()
    for n in range(min(event.size, 3)):
        has_given_up = False
        try:
            async with asyncio.timeout(0.15):
                await do(life, f"t{n}")
        except TimeoutError:
            has_given_up = True
        await do(life, f"t{n}.after")
        # What came before is durable by now, so this has to be what it was.
        life.decides(f"t{n}", has_given_up)
    with_timeout = step.with_options(timeout="200ms", retries=QUICKLY)
    try:
        life.saw("limited", await with_timeout.run("limited", work, "limited"))
    except StepError as error:
        life.saw("limited", f"failed: {error.failure.message}")
    return life.saw_


@app.function(on=Race, retries=QUICKLY)
async def grouping(event: Race) -> list[tuple[str, Any]]:
    """The first branch that fails takes the others with it."""
    life = begin()

    async def branch(n: int) -> None:
        once = Retries(1, delay="150ms")
        try:
            value = await step.with_options(retries=once).run(f"g{n}", work, f"g{n}")
        except StepError as error:
            life.saw(f"g{n}", f"failed: {error.failure.message}")
            raise
        life.saw(f"g{n}", value)
        await nap(life, f"g{n}.nap", 80 * n)

    has_failed = False
    try:
        async with asyncio.TaskGroup() as group:
            for n in range(event.size):
                group.create_task(branch(n))
    except* StepError:
        has_failed = True
    await do(life, "after")
    life.decides("group", has_failed)
    return life.saw_


@app.function(on=Race, retries=QUICKLY)
async def mapping(event: Race) -> list[int]:
    begin()
    patient = step.with_options(retries=Retries(5, delay="100ms"))
    return await patient.map("m", plain_item, range(event.size), concurrency=2)


def plain_item(n: int) -> int:
    return plain_work(f"m[{n}]")


@app.function(on=Rest, retries=QUICKLY)
async def resting(event: Rest) -> list[tuple[str, Any]]:
    life = begin()
    await nap(life, "first", event.ms)
    await do(life, "between")
    until = datetime.fromtimestamp(event.envelope.ts.timestamp() + event.ms / 500, UTC)
    await step.sleep_until("until", until)
    life.saw("until", None)
    return life.saw_


async def wait_for_payment(
    life: Life, id: str, key: str, least: int, timeout_ms: int, style: int
) -> None:
    life.book.waits[life.run, id] = (key, least)
    timeout = timedelta(milliseconds=timeout_ms)
    if style == 0:
        paid = await step.wait_for_event(id, Paid, match="data.key", timeout=timeout)
    else:
        paid = await step.wait_for_event(
            id,
            Paid,
            if_exp=lambda paid: (paid.key == key) & (paid.amount >= least),
            timeout=timeout,
        )
    life.saw(id, None if paid is None else paid.n)


@app.function(on=Wanted, retries=QUICKLY)
async def waiting(event: Wanted) -> list[tuple[str, Any]]:
    life = begin()
    await do(life, "before")
    least = 0 if event.style == 0 else event.least
    await wait_for_payment(life, "paid", event.key, least, event.timeout_ms, event.style)
    await do(life, "after")
    return life.saw_


@app.function(on="sim/pa*", retries=QUICKLY)
async def any_payment(event: Any) -> str:
    begin()
    return event.data["n"]


@app.function(on=Spread, retries=QUICKLY)
async def spreading(event: Spread) -> list[tuple[str, Any]]:
    life = begin()
    await do(life, "before")
    events = [Paid(n=f"{event.n}.{i}", key=f"k{i}", amount=i) for i in range(event.size)]
    life.book.step_sendings[life.run, "send"] = [("sim/paid", paid.n) for paid in events]
    life.saw("send", await step.send_event("send", events))
    life.book.step_sendings[life.run, "job"] = [("job/add", f"{event.n}.job")]
    job = await step.enqueue("job", add, f"{event.n}.job", 1)
    life.saw("job", job.id)
    await do(life, "after")
    return life.saw_


@app.function(on=Doomed, retries=Retries(1, delay="300ms"))
async def failing(event: Doomed) -> None:
    begin()
    if event.style == 0:
        await step.with_options(retries=QUICKLY).run("never", never_works, "never")
    if event.style == 1:
        raise NonRetriableError("not meant to be")
    raise Boom("as always")


@failing.on_failure
async def tell(failure: Failure, event: Doomed) -> str:
    life = begin()
    await do(life, "tell")
    return f"{event.n}: {failure}"


@app.function(on=Order, cancel=Cancel(Stop, match="data.key"), retries=QUICKLY)
async def cancellable(event: Order) -> list[tuple[str, Any]]:
    life = begin()
    await do(life, "one")
    await nap(life, "long", 2_500)
    await do(life, "two")
    return life.saw_


@app.function(on=Rest, timeouts=Timeouts(start="4s", finish="3s"), retries=QUICKLY)
async def limited(event: Rest) -> list[tuple[str, Any]]:
    life = begin()
    await do(life, "one")
    await nap(life, "rest", event.ms)
    await do(life, "two")
    return life.saw_


@app.function(on=Family, retries=QUICKLY)
async def parent(event: Family) -> list[tuple[str, Any]]:
    life = begin()

    async def child(n: int) -> None:
        try:
            value = await step.invoke(f"child{n}", chancy, f"{event.n}.{n}")
        except StepError as error:
            life.saw(f"child{n}", f"failed: {error.failure.message}")
        else:
            life.saw(f"child{n}", value)

    await child(0)
    await asyncio.gather(*(child(n) for n in range(1, event.size)))
    await do(life, "end")
    return life.saw_


@app.job(retries=Retries(1, delay="200ms"))
async def chancy(n: str) -> str:
    life = begin()
    value = await do(life, "chance")
    if isinstance(value, int) and value % 4 == 0:
        raise Boom(f"{n} had no luck")
    await nap(life, "nap", 50)
    return f"{n}: {value}"


@app.job(retries=QUICKLY)
async def add(n: str, b: int) -> str:
    begin()
    return f"{n}+{b}"


@app.job(retries=QUICKLY)
async def report(n: str, ms: int) -> str:
    life = begin()
    await do(life, "first")
    await nap(life, "pause", ms)
    return f"{n} done"


@app.job(retries=QUICKLY)
def plain(n: str) -> str:
    life = begin()
    if life.process.world.random.random() < 0.1:
        raise Boom(n)
    return f"{n} plain"


STARTS: dict[str, Callable[[dict[str, Any]], list[str]]] = {
    "sim/order": lambda data: (
        ["sequence", "checkpointed", "cancellable"]
        + (["big_orders_only"] if data["size"] > 2 else [])
    ),
    "sim/race": lambda data: ["racing", "branches", "mapping", "impatient", "grouping"],
    "sim/rest": lambda data: ["resting", "limited"],
    "sim/wanted": lambda data: ["waiting"],
    "sim/paid": lambda data: ["any_payment"],
    "sim/spread": lambda data: ["spreading"],
    "sim/doomed": lambda data: ["failing"],
    "sim/stop": lambda data: [],
    "sim/family": lambda data: ["parent"],
}
"""Which functions an event starts, said once more, independently of the engine."""


def number_of(data: bytes) -> str:
    """The unique number that every event and job carries."""
    return msgspec.json.decode(data)["n"]
