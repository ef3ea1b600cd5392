"""A user's stories, the same through each way to reach errands: embedded, at a store, over HTTP."""

import asyncio
import threading
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from errands import (
    App,
    ArgumentsRefused,
    ErrandsError,
    Event,
    EventRefused,
    InvalidConfig,
    Job,
    JobCancelled,
    JobFailed,
    JobNotFound,
    JobStatus,
    ResultTimeout,
    Retries,
    Unavailable,
    ValueNotStorable,
    ValueTooLarge,
    progress,
    step,
    sync,
)
from errands.model.errors import FunctionNotFound, JobIsOver, NotExternal, NotRepeatable
from tests.sdk.served import KINDS, SECONDS, House

UNKNOWN = "01ARZ3NDEKTSV4RRFFQ69G5FAV"


class Paid(Event, name="paid"):
    order_id: str
    cents: int = 0


@dataclass
class Receipt:
    order_id: str
    total: Decimal
    at: datetime


def in_full(cents: int) -> Decimal:
    return Decimal(cents) / 100


class Shop:
    """One app, as the worker has it and as whoever sends has it: two objects of the same code."""

    def __init__(self) -> None:
        self.app = app = App("shop")
        self.shipped: list[str] = []
        self.begun, self.may_end = threading.Event(), threading.Event()

        @app.function(on=Paid)
        async def ship(event: Paid) -> None:
            self.shipped.append(event.order_id)

        @app.job
        async def bill(order_id: str, cents: int) -> Receipt:
            total = await step.run("total", in_full, cents)
            return Receipt(order_id, total, datetime(2026, 1, 1, tzinfo=UTC))

        @app.job(retries=0)
        async def charge(card: str) -> str:
            raise LookupError(f"no card {card!r}, says “bank”")

        @app.job
        def render(pages: int) -> str:
            self.begun.set()
            for page in range(1, pages + 1):
                progress.set(100 * page / pages, f"page {page} of {pages}")
                assert self.may_end.wait(SECONDS)
            return "done"

        @app.job
        async def wait(text: str = "") -> str:
            await step.sleep("nap", "1h")
            return text

        self.bill, self.charge, self.render, self.wait = bill, charge, render, wait


@pytest.fixture(scope="module")
def executed() -> Shop:
    """As the worker has it."""
    return Shop()


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory, executed: Shop) -> Iterator[House]:
    with House(tmp_path_factory.mktemp("house"), executed.app).open() as house:
        yield house


@pytest.fixture(params=KINDS)
def shop(request: pytest.FixtureRequest, house: House) -> Iterator[Shop]:
    with reached(house, request.param) as shop:
        yield shop


class reached:
    """A shop whose app reaches the house in this way."""

    def __init__(self, house: House, kind: str) -> None:
        self.shop = Shop()
        self.backend = house.backend(kind, self.shop.app)
        self.is_own = self.backend is not house.worker
        self.using = self.shop.app.use_backend(self.backend)

    def __enter__(self) -> Shop:
        self.using.__enter__()
        return self.shop

    def __exit__(self, *error: object) -> None:
        self.using.__exit__(None, None, None)
        if self.is_own:
            self.backend.close()


async def until(is_so: Callable[[], bool]) -> None:
    async with asyncio.timeout(SECONDS):
        while not is_so():  # noqa: ASYNC110
            await asyncio.sleep(0.005)


# -- sending ---------------------------------------------------------------------------------------


async def test_an_event_starts_its_function(shop: Shop, executed: Shop) -> None:
    id = await shop.app.send(Paid(order_id="one"))

    assert len(id) == 26
    await until(lambda: "one" in executed.shipped)


async def test_many_events_are_one_send(shop: Shop, executed: Shop) -> None:
    before = len(executed.shipped)

    ids = await shop.app.send([Paid(order_id=f"many {n}") for n in range(500)])

    assert len(set(ids)) == 500
    await until(lambda: len(executed.shipped) == before + 500)


async def test_an_event_id_counts_once(shop: Shop, executed: Shop) -> None:
    event = Paid(order_id="once").with_options(id=f"e-{id(shop)}")
    before = executed.shipped.count("once")

    ids = [await shop.app.send(event), *await shop.app.send([event, event])]

    assert ids == [f"e-{id(shop)}"] * 3
    await until(lambda: executed.shipped.count("once") == before + 1)


async def test_all_of_an_event_arrives(shop: Shop, house: House) -> None:
    at = int((datetime.now(UTC) - timedelta(hours=1)).timestamp() * 1000)
    event: Any = {
        "name": "odd/ü",
        "data": {"a": [1, None, 2**70, 1e-7, "\u2028\U0001f600"], "": {}},
        "user": {"id": 1},
        "v": "2",
        "ts": at,
        "id": f"all-{id(shop)}",
    }

    await shop.app.send(event)

    found = house.worker.store.reader.list_events(event_filter())[0]
    assert (found.name, found.key, found.v) == ("odd/ü", f"all-{id(shop)}", "2")
    assert (
        found.data == '{"a":[1,null,1180591620717411303424,1e-7,"\u2028\U0001f600"],"":{}}'.encode()
    )
    assert found.user == b'{"id":1}'
    assert found.at == at


def event_filter() -> Any:
    from errands.store.interface import EventFilter

    return EventFilter("odd/ü", None, 1)


# -- jobs ------------------------------------------------------------------------------------------


async def test_a_result_is_what_the_job_returned(shop: Shop) -> None:
    job = await shop.bill.enqueue("o1", cents=250)

    assert await job.result(timeout="30s") == Receipt(
        "o1", Decimal("2.5"), datetime(2026, 1, 1, tzinfo=UTC)
    )
    assert (await shop.app.jobs.result(job.id))["total"] == "2.5"
    status = await job.status()
    assert (status.status, status.error, status.progress) == ("completed", None, None)
    assert status.created_at <= status.updated_at <= datetime.now(UTC)


async def test_many_jobs_are_enqueued_in_their_order(shop: Shop) -> None:
    jobs = await shop.app.enqueue_many(shop.bill.bind(f"o{n}", n) for n in range(50))

    receipts = await asyncio.gather(*(job.result(timeout="30s") for job in jobs))
    assert [receipt.order_id for receipt in receipts] == [f"o{n}" for n in range(50)]


async def test_options_are_kept(shop: Shop, house: House) -> None:
    tomorrow = datetime.now(UTC) + timedelta(days=1)
    job = await shop.wait.with_options(
        at=tomorrow, tags={"order": "o/1"}, retries=Retries(7), idempotency_key=f"k-{id(shop)}"
    ).enqueue("later")
    again = await shop.wait.with_options(idempotency_key=f"k-{id(shop)}").enqueue("other")

    assert again.id == job.id
    assert (await job.status()).status == "pending"
    reader = house.worker.store.reader
    run = house.worker.run_id(job.id)
    assert reader.labels(run) == ["order=o/1"]
    assert [(one.input, one.retries) for one in reader.inputs([run])] == [
        (b'{"text":"later"}', b'{"count":7,"factor":2.0}')
    ]
    await job.cancel()


async def test_a_failed_job_says_why(shop: Shop) -> None:
    job = await shop.charge.enqueue("c1")

    with pytest.raises(JobFailed) as failed:
        await job.result(timeout="30s")

    assert str(failed.value) == f"Job {job.id} failed: LookupError: no card 'c1', says “bank”"
    assert failed.value.was(LookupError)
    assert failed.value.was(Exception)
    assert "charge" in failed.value.stack
    assert (await job.status()).error == "LookupError: no card 'c1', says “bank”"


async def test_a_cancelled_job_says_why(shop: Shop) -> None:
    job = await shop.wait.enqueue()
    await job.cancel(reason="no longer")

    with pytest.raises(JobCancelled, match=f"Job {job.id} was cancelled: no longer"):
        await job.result(timeout="30s")

    await job.cancel(reason="twice changes nothing")
    assert (await job.status()).to_dict()["error"] == "cancelled: no longer"


async def test_a_result_that_is_late_leaves_the_job_going_on(shop: Shop) -> None:
    job = await shop.wait.enqueue()

    with pytest.raises(ResultTimeout, match=r"is still \w+ after 200 ms\. It goes on"):
        await job.result(timeout="200ms")
    with pytest.raises(ResultTimeout):
        await job.result(timeout="0s")

    await job.cancel()


async def test_each_change_is_seen_while_it_executes(shop: Shop, executed: Shop) -> None:
    executed.begun.clear()
    executed.may_end.clear()
    seen: list[JobStatus[str]] = []
    job = await shop.render.enqueue(2)

    async with asyncio.timeout(SECONDS):
        async for status in job.watch():
            seen.append(status)
            if status.progress is not None:
                executed.may_end.set()

    told = [(status.progress, status.message) for status in seen]
    assert told[-1] == (100.0, "page 2 of 2")
    assert (50.0, "page 1 of 2") in told
    assert (seen[-1].status, seen[-1].result) == ("completed", "done")
    assert [status.is_final for status in seen] == [False] * (len(seen) - 1) + [True]


async def test_many_wait_for_one_job(shop: Shop, executed: Shop) -> None:
    executed.may_end.set()
    job = await shop.render.enqueue(1)

    assert await asyncio.gather(*(job.result(timeout="30s") for _ in range(150))) == ["done"] * 150


async def test_who_waits_may_be_cancelled(shop: Shop) -> None:
    job = await shop.wait.enqueue()
    waiting = asyncio.create_task(job.result())
    await job.status()  # by now the other one waits

    waiting.cancel()

    with pytest.raises(asyncio.CancelledError):
        await waiting
    await job.cancel()


# -- from plain code -------------------------------------------------------------------------------


def test_plain_code_does_the_same(shop: Shop, executed: Shop) -> None:
    executed.may_end.set()
    assert len(sync(shop.app.send(Paid(order_id="plain")))) == 26
    job = sync(shop.render.enqueue(3))
    seen = [status.status for status in sync(job.watch())]
    assert seen[-1] == "completed"
    assert sync(job.result(timeout="1s")) == "done"

    sleeping = sync(shop.wait.enqueue())
    with pytest.raises(ResultTimeout):
        sync(sleeping.result(timeout="50ms"))
    sync(sleeping.cancel(reason="enough"))
    with pytest.raises(JobCancelled, match="enough"):
        sync(sleeping.result(timeout="30s"))


def test_many_threads_do_the_same(shop: Shop) -> None:
    found: list[str] = []

    def one(n: int) -> None:
        found.append(sync(sync(shop.bill.enqueue(f"t{n}", n)).result(timeout="30s")).order_id)

    threads = [threading.Thread(target=one, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(SECONDS)

    assert sorted(found) == [f"t{n}" for n in range(8)]


# -- external jobs ---------------------------------------------------------------------------------


async def test_an_external_job_is_what_its_owner_says(shop: Shop) -> None:
    made = await shop.app.jobs.create()
    assert (made.status, made.progress, made.result) == ("pending", None, None)

    await shop.app.jobs.update(made.id, status="processing", progress=40, message="reading")
    now = await shop.app.jobs.get(made.id)
    assert (now.status, now.progress, now.message) == ("processing", 40.0, "reading")

    await shop.app.jobs.update(made.id, progress=1e9, message="x" * 3_000)
    now = await shop.app.jobs.get(made.id)
    assert (now.progress, now.message) == (100.0, "x" * 2_000)

    done = await shop.app.jobs.update(made.id, result={"rows": [1, 2.5, "ü"]})
    assert done.to_dict() == (await shop.app.jobs.get(made.id)).to_dict()
    assert await shop.app.jobs.result(made.id) == {"rows": [1, 2.5, "ü"]}


async def test_an_external_job_that_fails_says_why(shop: Shop) -> None:
    made = await shop.app.jobs.create()

    failed = await shop.app.jobs.update(made.id, error="no disk “left”")

    assert (failed.status, failed.error) == ("failed", "no disk “left”")
    assert failed.to_dict() == (await shop.app.jobs.get(made.id)).to_dict()
    with pytest.raises(JobFailed, match="no disk “left”"):
        await shop.app.jobs.result(made.id)


async def test_an_external_job_may_have_an_id_of_its_own(shop: Shop) -> None:
    own = f"import/{id(shop)}?ü #1.."
    made = await shop.app.jobs.create(own, keep="2 days")
    again = await shop.app.jobs.create(own)

    assert made.id == own
    assert again.to_dict() == made.to_dict()
    await shop.app.jobs.update(own, progress=10)
    await shop.app.jobs.cancel(own, reason="not needed")
    with pytest.raises(JobCancelled, match="not needed"):
        await shop.app.jobs.result(own)
    over = await shop.app.jobs.create(own)
    assert over.error == "cancelled: not needed"


async def test_an_external_job_is_watched(shop: Shop) -> None:
    made = await shop.app.jobs.create()
    seen: list[tuple[str, float | None]] = []
    async with asyncio.timeout(SECONDS):
        async for status in shop.app.jobs.watch(made.id):
            seen.append((status.status, status.progress))
            if len(seen) == 1:
                await shop.app.jobs.update(made.id, progress=50)
            elif not status.is_final:
                await shop.app.jobs.update(made.id, status="completed")

    assert seen == [("pending", None), ("pending", 50.0), ("completed", 50.0)]


# -- what cannot be --------------------------------------------------------------------------------

Try = Callable[[Shop], Awaitable[object]]


async def run_of(shop: Shop) -> Job[Any]:
    return await shop.wait.with_options(idempotency_key="the one").enqueue()


async def over(shop: Shop) -> str:
    job = await shop.app.jobs.create("over")
    if not job.is_final:
        await shop.app.jobs.update("over", status="completed")
    return "over"


async def update(shop: Shop, job_id: str, **given: Any) -> object:
    return await shop.app.jobs.update(job_id, **given)


def nobody(shop: Shop) -> Awaitable[object]:
    """An app whose functions nobody has registered here."""
    other = App("other")

    @other.job
    async def work() -> None: ...

    async def enqueue() -> object:
        backend = await shop.app.connected()
        from errands.model.job import NewJob

        return await backend.send([NewJob("other", "work", b"{}")])

    return enqueue()


ERRORS: dict[str, tuple[type[ErrandsError], Try]] = {
    "an event too large": (EventRefused, lambda s: s.app.send(Paid(order_id="x" * 300_000))),
    "an event of the wrong type": (
        EventRefused,
        lambda s: s.app.send(Paid(order_id=7)),  # type: ignore[arg-type] # pyright: ignore
    ),
    "an event without a name": (EventRefused, lambda s: s.app.send({"name": "", "data": {}})),
    "a reserved name": (EventRefused, lambda s: s.app.send({"name": "errands/x", "data": {}})),
    "an unknown argument": (
        ArgumentsRefused,
        lambda s: s.wait.enqueue(tip=1),  # type: ignore[call-arg] # pyright: ignore
    ),
    "arguments too large": (ValueTooLarge, lambda s: s.wait.enqueue("x" * 300_000)),
    "a function that nobody has": (FunctionNotFound, nobody),
    "an unknown job": (JobNotFound, lambda s: s.app.jobs.get(UNKNOWN)),
    "an unknown job's result": (JobNotFound, lambda s: s.app.jobs.result(UNKNOWN)),
    "an unknown job watched": (JobNotFound, lambda s: anext(aiter(s.app.jobs.watch("..")))),
    "an unknown job cancelled": (JobNotFound, lambda s: s.app.jobs.cancel("a/b?c#d")),
    "no id at all": (JobNotFound, lambda s: s.app.jobs.get("")),
    "an id without end": (JobNotFound, lambda s: s.app.jobs.get("x" * 100_000)),
    "an update of an unknown job": (JobNotFound, lambda s: update(s, UNKNOWN, progress=1)),
    "an id that cannot be": (InvalidConfig, lambda s: s.app.jobs.create("a\nb")),
    "an empty id": (InvalidConfig, lambda s: s.app.jobs.create("")),
    "a job kept for no time": (InvalidConfig, lambda s: s.app.jobs.create(keep="0s")),
    "a progress that is no number": (
        InvalidConfig,
        lambda s: update(s, "over", progress=float("nan")),
    ),
    "a status that there is not": (InvalidConfig, lambda s: update(s, "over", status="odd")),
    "a progress of another type": (InvalidConfig, lambda s: update(s, "over", progress="1")),
    "a result and an error": (InvalidConfig, lambda s: update(s, "over", result=1, error="x")),
    "an error of what goes on": (
        InvalidConfig,
        lambda s: update(s, "over", status="processing", error="x"),
    ),
    "a result that is no JSON": (ValueNotStorable, lambda s: update(s, "over", result=object())),
    "a result too large": (ValueTooLarge, lambda s: update(s, "over", result="x" * 300_000)),
    "a job that is over": (JobIsOver, lambda s: update(s, "over", progress=1)),
}


@pytest.mark.parametrize("name", ERRORS)
async def test_errors_are_the_same_word_for_word(name: str, house: House) -> None:
    wanted, attempt = ERRORS[name]
    told: dict[str, ErrandsError] = {}
    for kind in KINDS:
        with reached(house, kind) as shop:
            await over(shop)
            with pytest.raises(wanted) as raised:
                await attempt(shop)
            told[kind] = raised.value

    assert {str(error) for error in told.values()} == {str(told["embedded"])}
    assert {type(error) for error in told.values()} == {type(told["embedded"])}
    assert told["http"].__dict__ == told["embedded"].__dict__


async def test_a_run_is_no_external_job(house: House) -> None:
    told: list[ErrandsError] = []
    for kind in KINDS:
        with reached(house, kind) as shop:
            job = await run_of(shop)
            for attempt in (update(shop, job.id, progress=1), shop.app.jobs.create(job.id)):
                with pytest.raises(NotExternal) as raised:
                    await attempt
                told.append(raised.value)
                assert raised.value.job_id == job.id

    assert len({str(error) for error in told}) == 1
    assert [error.__dict__["function_id"] for error in told] == ["shop/wait"] * 6


async def test_a_run_is_started_once_more(shop: Shop) -> None:
    job = await shop.bill.enqueue("o1", 1)
    await job.result(timeout="30s")
    backend = await shop.app.connected()

    again = await backend.rerun(job.id)

    assert again != job.id
    assert (await shop.bill.job(again).result(timeout="30s")).order_id == "o1"
    with pytest.raises(JobNotFound, match=UNKNOWN):
        await backend.rerun(UNKNOWN)


async def test_an_external_job_is_not_started_once_more(house: House) -> None:
    told: list[str] = []
    for kind in KINDS:
        with reached(house, kind) as shop:
            job = await shop.app.jobs.create()
            with pytest.raises(NotRepeatable) as raised:
                await (await shop.app.connected()).rerun(job.id)
            told.append(str(raised.value).replace(job.id, "…"))

    assert len(set(told)) == 1


async def test_who_waits_is_told_when_errands_is_closed(house: House) -> None:
    with reached(house, "http") as shop:
        job = await shop.wait.with_options(delay="1h").enqueue()
        waiting = asyncio.create_task(job.result())
        backend = await shop.app.connected()
        await shop.wait.enqueue()  # by now the other one waits
        backend.close()
        with pytest.raises(Unavailable, match="closed in this process"):
            await waiting
        await job.cancel()  # it is opened again
