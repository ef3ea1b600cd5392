"""What each expression's type is, exactly, for both type checkers."""

import functools
from collections.abc import AsyncIterator, Iterator
from typing import Any, TypeVar, assert_type

from errands import AnyEvent, BoundJob, ConfiguredJob, Job, JobStatus, progress, step, sync
from errands.sdk.function import AsyncFunction, SyncFunction
from errands.sdk.job import AsyncJobFunction, SyncJobFunction
from tests.typing.samples.imports import SignedUp as PydanticSignedUp
from tests.typing.samples.imports import greet, import_csv
from tests.typing.samples.office import export_ledger
from tests.typing.samples.pipeline import FileArrived, FileCorrected, audit, big_file, ingest
from tests.typing.samples.welcome import (
    AlbumCreated,
    Paid,
    SignedUp,
    User,
    app,
    find_user,
    make_invoice,
    send_welcome_email,
    thumbnail,
)

T = TypeVar("T")


def first(items: list[T]) -> T:
    return items[0]


async def declarations() -> None:
    assert_type(send_welcome_email, AsyncFunction[SignedUp, dict[str, bool]])
    assert_type(ingest, AsyncFunction[FileArrived | FileCorrected, str])
    assert_type(big_file, AsyncFunction[FileArrived, None])
    assert_type(audit, AsyncFunction[AnyEvent, None])
    assert_type(greet, AsyncFunction[PydanticSignedUp, None])
    assert_type(await send_welcome_email(SignedUp(user_id="u", email="e")), dict[str, bool])
    assert_type(await make_invoice("o1", reference="r"), str)  # the plain function
    assert_type(export_ledger(2026), str)


async def jobs() -> None:
    job = await make_invoice.enqueue("o1", reference="r")
    assert_type(job, Job[str])
    assert_type(await job.result(timeout="5s"), str)
    assert_type(await job.status(), JobStatus[str])
    assert_type((await job.status()).result, str | None)
    assert_type(job.watch(), AsyncIterator[JobStatus[str]])
    assert_type(make_invoice.bind("o1"), BoundJob[str])
    assert_type(await app.enqueue_many([make_invoice.bind("o1")]), list[Job[str]])
    mixed = await app.enqueue_many([make_invoice.bind("o1"), process_row.bind(1)])
    assert_type(await mixed[0].result(), str | int)  # type: ignore[assert-type]  # mypy: object
    assert_type(make_invoice.job("id"), Job[str])
    assert_type(await app.send(SignedUp(user_id="u", email="e")), str)
    assert_type(await app.send({"name": "x/y", "data": {"a": 1}}), str)
    album = AlbumCreated(image_ids=["1"])
    assert_type(await app.send([SignedUp(user_id="u", email="e"), album]), list[str])
    assert_type(SignedUp(user_id="u", email="e").with_options(id="x"), SignedUp)
    assert_type(PydanticSignedUp(user_id=1, email="e").with_options(id="x"), PydanticSignedUp)


@app.job
def process_row(row: int) -> int:
    return row


def plain() -> None:
    assert_type(sync(make_invoice.enqueue("o1")), Job[str])
    assert_type(sync(make_invoice.job("x").watch()), Iterator[JobStatus[str]])
    assert_type(sync(step.run("a", find_user, "u")), User)


async def steps() -> None:
    assert_type(await step.run("a", find_user, "u"), User)
    assert_type(await step.run("a", find_user, user_id="u"), User)
    assert_type(await step.run("a", thumbnail, "i"), str)
    assert_type(await step.run("a", lambda: find_user("u")), User)
    assert_type(await step.run("a", lambda: 3), int)
    assert_type(await step.run("a", functools.partial(find_user, "u")), User)
    assert_type(await step.run("a", first, ["x"]), str)
    returning = step.with_options(returns=User)
    assert_type(await returning.run("a", lambda: find_user("u")), User)

    async def closure(n: int, *, id: str) -> list[User]:
        return []

    assert_type(await step.run("a", closure, 1, id="the function's own id"), list[User])
    assert_type(await step.map("a", thumbnail, ["1"]), list[str])
    assert_type(await step.map("a", find_user, ["1"], concurrency=3), list[User])
    found = await step.map("a", lambda n: find_user(str(n)), range(3))
    assert_type(found, list[User])  # type: ignore[assert-type]  # mypy: Any
    assert_type(await step.invoke("a", make_invoice, "o1"), str)
    quick = make_invoice.with_options(retries=0)
    assert_type(await step.invoke("a", quick, "o1"), str)
    signed_up = SignedUp(user_id="u", email="e")
    assert_type(await step.invoke("a", send_welcome_email, signed_up), dict[str, bool])
    assert_type(await step.invoke_by_id("a", "billing/charge", {"o": 1}, User), User)
    assert_type(await step.enqueue("a", make_invoice, "o1"), Job[str])
    paid = await step.wait_for_event("a", Paid, match="data.order_id", timeout="3 days")
    assert_type(paid, Paid | None)
    assert_type(await step.wait_for_event("a", "user/*", timeout="3 days"), AnyEvent | None)
    for item in progress.track([1, 2]):
        assert_type(item, int)


configured: ConfiguredJob[[str], Any]
both: tuple[
    type[SyncFunction[Any, Any]],
    type[AsyncJobFunction[Any, Any]],
    type[SyncJobFunction[Any, Any]],
]
_ = import_csv
