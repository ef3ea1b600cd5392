"""Sending, enqueueing and asking, against a backend that only writes down what it gets."""

from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from errands import (
    AnyEvent,
    App,
    Event,
    EventRefused,
    InvalidConfig,
    JobCancelled,
    JobFailed,
    Middleware,
    ResultMismatch,
    ResultTimeout,
    Retries,
    Timeouts,
    sync,
)
from errands.model.errors import ArgumentsRefused
from errands.model.event import NewEvent
from errands.model.job import JobView, NewJob
from errands.model.run import Failure
from errands.sdk.event import EventLike
from errands.sdk.middleware import Send


class SignedUp(Event, name="user/signed.up"):
    user_id: str


@dataclass
class Report:
    url: str


class Notebook:
    """A backend that never suspends, so that `sync` can drive it."""

    def __init__(self, *views: JobView) -> None:
        self.got: list[NewEvent | NewJob] = []
        self.calls = 0
        self.views = list(views)
        self.cancelled: list[tuple[str, str | None]] = []
        self.waited: list[float | None] = []

    is_connected = False

    async def connect(self) -> None: ...

    async def send(self, items: Sequence[NewEvent | NewJob]) -> list[str]:
        self.calls += 1
        self.got += items
        return [f"id-{n}" for n in range(len(items))]

    async def job(self, job_id: str) -> JobView:
        return self.views[0]

    async def outcome(self, job_id: str, timeout: float | None) -> JobView | None:
        self.waited.append(timeout)
        return self.views[-1] if self.views[-1].is_final else None

    async def changed(self, seen: JobView, timeout: float | None) -> JobView:
        if len(self.views) > 1:
            self.views.pop(0)
        return self.views[0]

    async def cancel(self, job_id: str, reason: str | None) -> None:
        self.cancelled.append((job_id, reason))

    async def create_job(self, key: str | None, keep_ms: int) -> tuple[JobView, bool]:
        raise NotImplementedError

    async def update_job(self, job_id: str, **change: Any) -> JobView:
        raise NotImplementedError

    async def rerun(self, run_id: str) -> str:
        raise NotImplementedError

    def worker(self, concurrency: int | None) -> AbstractAsyncContextManager[object]:
        raise NotImplementedError

    def close(self) -> None: ...


app = App("shop")


@app.function(on=SignedUp)
async def greet(event: SignedUp) -> None: ...


@app.job
async def report(report_id: str, pages: int = 10) -> Report:
    return Report(f"/{report_id}")


def view(status: Any, updated_at: int = 1, **given: Any) -> JobView:
    return JobView("01J", status, 0, updated_at, **given)


FAILED = msgspec.json.encode(Failure("CardDeclined", "no funds", bases=("Exception",)))


@pytest.fixture
def backend() -> Iterator[Notebook]:
    notebook = Notebook()
    with app.use_backend(notebook):
        yield notebook


# -- sending
# -----------------------------------------------------------------------------------------


async def test_one_event_gives_its_id_and_many_give_theirs(backend: Notebook) -> None:
    assert await app.send(SignedUp(user_id="u1")) == "id-0"
    assert await app.send({"name": "x/y"}) == "id-0"
    assert await app.send([SignedUp(user_id="u1"), {"name": "x/y"}]) == ["id-0", "id-1"]
    assert await app.send(SignedUp(user_id=f"u{n}") for n in range(2)) == ["id-0", "id-1"]
    assert backend.calls == 4


async def test_nothing_is_sent_for_nothing(backend: Notebook) -> None:
    assert await app.send([]) == []
    assert await app.enqueue_many([]) == []
    assert backend.calls == 0


async def test_one_bad_event_refuses_all(backend: Notebook) -> None:
    with pytest.raises(EventRefused, match="user_id"):
        await app.send([SignedUp(user_id="u1"), {"name": "user/signed.up", "data": {}}])

    assert backend.got == []


@pytest.mark.parametrize("nonsense", ["user/signed.up", 3, None, SignedUp, [3], ["x"]])
async def test_what_is_no_event_is_refused(backend: Notebook, nonsense: Any) -> None:
    with pytest.raises(EventRefused):
        await app.send(nonsense)


async def test_the_limit_is_configurable(
    backend: Notebook, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(app, "value_bytes_max", 20)

    with pytest.raises(EventRefused, match="the limit is 20"):
        await app.send(SignedUp(user_id="u" * 20))


def test_plain_code_sends_too(backend: Notebook) -> None:
    assert sync(app.send(SignedUp(user_id="u1"))) == "id-0"
    assert sync(report.enqueue("r1")).id == "id-0"


# -- enqueueing
# --------------------------------------------------------------------------------------


async def test_a_job_is_its_arguments_by_name(backend: Notebook) -> None:
    job = await report.enqueue("r1", pages=3)

    assert job.id == "id-0"
    assert backend.got == [NewJob("shop", "report", b'{"report_id":"r1","pages":3}')]


async def test_options_go_along(backend: Notebook) -> None:
    at = datetime(2026, 1, 1, tzinfo=UTC)
    configured = report.with_options(
        at=at,
        idempotency_key="k",
        retries=2,
        timeouts=Timeouts(start="1s", finish="1m"),
        tags={"customer": "c1"},
    )

    await configured.enqueue("r1")
    await report.with_options(delay="5s").with_options(tags={"a": "b"}).enqueue("r1")

    data = b'{"report_id":"r1"}'
    assert backend.got == [
        NewJob(
            app="shop",
            function="report",
            data=data,
            key="k",
            at=1_767_225_600_000,
            retries=msgspec.json.encode(Retries(2).policy),
            start_timeout_ms=1_000,
            finish_timeout_ms=60_000,
            tags=("customer=c1",),
        ),
        NewJob("shop", "report", data, delay_ms=5_000, tags=("a=b",)),
    ]


@pytest.mark.parametrize(
    "options",
    [
        {"dely": "5s"},
        {"delay": 5},
        {"delay": "5s", "at": datetime(2026, 1, 1, tzinfo=UTC)},
        {"at": datetime(2026, 1, 1)},  # noqa: DTZ001
        {"at": "tomorrow"},
        {"idempotency_key": ""},
        {"idempotency_key": 3},
        {"retries": "3"},
        {"retries": Retries(3, delay=lambda attempt, error: "1s")},
        {"retries": Retries(3, give_up_on=(ValueError,))},
        {"tags": {"a": 1}},
        {"tags": {"": "x"}},
        {"priority": 3},
    ],
)
def test_options_that_cannot_be_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(InvalidConfig):
        report.with_options(**options)


async def test_many_jobs_go_in_one_call(backend: Notebook) -> None:
    jobs = await app.enqueue_many(report.bind(f"r{n}") for n in range(3))

    assert [job.id for job in jobs] == ["id-0", "id-1", "id-2"]
    assert backend.calls == 1


async def test_bad_arguments_are_refused_when_they_are_bound() -> None:
    wrong: Any = report
    with pytest.raises(ArgumentsRefused):
        wrong.bind()
    with pytest.raises(InvalidConfig, match="a tuple is no bound job"):
        await app.enqueue_many([("r1",)])  # type: ignore[list-item]  # pyright: ignore


async def test_a_job_is_still_a_function() -> None:
    assert await report("r1") == Report("/r1")
    assert report.id == "report"


# -- asking
# ------------------------------------------------------------------------------------------


async def test_a_result_comes_as_the_annotation_says(backend: Notebook) -> None:
    backend.views = [
        view("pending"),
        view("processing", 2),
        view("completed", 3, result=b'{"url":"/r1"}'),
    ]

    assert await report.job("01J").result() == Report("/r1")
    assert backend.waited == [None]


async def test_a_result_that_no_longer_fits_says_so(backend: Notebook) -> None:
    backend.views = [view("completed", result=b'{"link":"/r1"}')]

    with pytest.raises(ResultMismatch, match=r"job 01J is no Report any more: .*`url`"):
        await report.job("01J").result()
    with pytest.raises(ResultMismatch):
        print((await report.job("01J").status()).result)


async def test_by_id_alone_a_result_is_plain_json(backend: Notebook) -> None:
    backend.views = [view("completed", result=b'{"url":"/r1"}')]

    assert await app.jobs.result("01J") == {"url": "/r1"}


async def test_a_failed_job_raises_its_error(backend: Notebook) -> None:
    class CardDeclined(Exception): ...

    backend.views = [view("failed", error=FAILED)]

    with pytest.raises(JobFailed, match="Job 01J failed: CardDeclined: no funds") as caught:
        await report.job("01J").result()

    assert caught.value.was(CardDeclined)


@pytest.mark.parametrize(("reason", "wanted"), [("too late", "too late"), ("", None)])
async def test_a_cancelled_job_raises_why(
    backend: Notebook, reason: str, wanted: str | None
) -> None:
    backend.views = [view("failed", cancelled=reason)]

    with pytest.raises(JobCancelled) as caught:
        await report.job("01J").result()

    assert caught.value.reason == wanted


async def test_a_result_is_waited_for_only_so_long(backend: Notebook) -> None:
    backend.views = [view("processing")]

    with pytest.raises(ResultTimeout, match="still processing after 20 ms"):
        await report.job("01J").result(timeout=timedelta(milliseconds=20))

    assert backend.waited == [0.02]


async def test_watching_ends_with_the_final_status(backend: Notebook) -> None:
    backend.views = [
        view("pending"),
        view("pending"),  # woken for nothing
        view("processing", 2, progress=40.0, message="page 4"),
        view("completed", 3, result=b'{"url":"/r1"}'),
    ]

    seen = [(update.status, update.progress) async for update in report.job("01J").watch()]

    assert seen == [("pending", None), ("processing", 40.0), ("completed", None)]


def test_plain_code_watches_too(backend: Notebook) -> None:
    backend.views = [view("pending"), view("completed", 2, result=b"{}")]

    assert [update.status for update in sync(app.jobs.watch("01J"))] == ["pending", "completed"]


async def test_cancel_passes_the_reason_on(backend: Notebook) -> None:
    await report.job("01J").cancel(reason="too late")
    await app.jobs.cancel("01K")

    assert backend.cancelled == [("01J", "too late"), ("01K", None)]


async def test_the_dictionary_for_browsers(backend: Notebook) -> None:
    backend.views = [view("completed", 1_500, progress=100.0, result=b'{"url":"/r1"}')]

    assert (await app.jobs.get("01J")).to_dict() == {
        "id": "01J",
        "status": "completed",
        "progress": 100.0,
        "result": {"url": "/r1"},
        "createdAt": 0,
        "updatedAt": 1_500,
    }


@pytest.mark.parametrize(
    ("given", "error"),
    [
        ({"error": FAILED}, "CardDeclined: no funds"),
        ({"cancelled": "too late"}, "cancelled: too late"),
        ({"cancelled": ""}, "cancelled"),
    ],
)
async def test_the_error_in_words(backend: Notebook, given: dict[str, Any], error: str) -> None:
    backend.views = [view("failed", **given)]

    status = await report.job("01J").status()

    assert status.error == error
    assert status.result is None
    assert status.is_final


# -- middleware
# --------------------------------------------------------------------------------------


class Watching(Middleware):
    """Sees what is sent, and may make something else of it."""

    def __init__(self, change: Callable[[EventLike], EventLike] = lambda event: event) -> None:
        self.seen: list[EventLike] = []
        self.change = change

    async def on_send(self, events: Sequence[EventLike], proceed: Send) -> list[str]:
        self.seen += events
        return [f"seen-{id}" for id in await proceed([self.change(one) for one in events])]


def watched(middleware: Middleware) -> tuple[App, Any, Notebook]:
    shop = App("shop", middleware=[Middleware(), middleware])

    @shop.function(on=SignedUp)
    async def greet(event: SignedUp) -> None: ...

    @shop.job
    def pay(order: str, cents: int = 0) -> None: ...

    return shop, pay, Notebook()


async def test_middleware_sees_events_and_jobs_as_events() -> None:
    watching = Watching()
    shop, pay, notebook = watched(watching)

    with shop.use_backend(notebook):
        mine = SignedUp(user_id="u1")
        named = {"name": "user/signed.up", "data": {"user_id": "u2"}, "id": "k"}
        ids = await shop.send([mine, named, {"name": "x/y", "data": {"a": 1}}])  # type: ignore[list-item]  # pyright: ignore
        job = await pay.with_options(delay="5s", idempotency_key="j").enqueue("o1", cents=3)

    assert watching.seen[:2] == [mine, SignedUp(user_id="u2")]
    assert [event.envelope.name for event in watching.seen[2:]] == ["x/y", "shop/pay"]
    assert isinstance(watching.seen[3], AnyEvent)
    assert watching.seen[3].data == {"order": "o1", "cents": 3}
    assert ids == ["seen-id-0", "seen-id-1", "seen-id-2"]
    assert job.id == "seen-id-0"
    assert [one.key for one in notebook.got] == [None, "k", None, "j"]
    last = notebook.got[-1]
    assert isinstance(last, NewJob)
    assert (last.data, last.delay_ms) == (b'{"order":"o1","cents":3}', 5_000)


async def test_middleware_may_change_what_is_sent() -> None:
    def change(event: EventLike) -> EventLike:
        if isinstance(event, AnyEvent):
            data = {**event.data, "cents": 7}
            return msgspec.structs.replace(event, data=data)  # type: ignore  # pyright: ignore
        return event.with_options(user={"by": "middleware"})

    shop, pay, notebook = watched(Watching(change))

    with shop.use_backend(notebook):
        await shop.send(SignedUp(user_id="u1"))
        await pay.enqueue("o1")

    event, job = notebook.got
    assert isinstance(event, NewEvent)
    assert event.user == b'{"by":"middleware"}'
    assert job.data == b'{"order":"o1","cents":7}'


async def test_what_middleware_makes_of_arguments_is_checked() -> None:
    def change(event: EventLike) -> EventLike:
        return msgspec.structs.replace(event, data={"order": 3})  # type: ignore  # pyright: ignore

    shop, pay, notebook = watched(Watching(change))

    with shop.use_backend(notebook), pytest.raises(ArgumentsRefused, match="'order'"):
        await pay.enqueue("o1")


async def test_middleware_may_refuse() -> None:
    class Refusing(Middleware):
        async def on_send(
            self,
            events: Sequence[EventLike],
            proceed: Callable[[Sequence[EventLike]], Awaitable[list[str]]],
        ) -> list[str]:
            raise PermissionError("not today")

    shop, _, notebook = watched(Refusing())

    with shop.use_backend(notebook), pytest.raises(PermissionError):
        await shop.send(SignedUp(user_id="u1"))

    assert notebook.got == []


async def test_another_backend_is_used_only_inside_the_with() -> None:
    shop, _, notebook = watched(Middleware())

    with shop.use_backend(notebook):
        assert shop.backend is notebook
        with shop.use_backend(other := Notebook()):
            assert shop.backend is other
        assert shop.backend is notebook
