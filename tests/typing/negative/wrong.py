"""Every line marked E must be refused by both type checkers; no other line may be."""

# ruff: noqa: B018

import asyncio
from datetime import datetime

from errands import (
    App,
    Cancel,
    Event,
    Failure,
    Retries,
    Timeouts,
    Trigger,
    progress,
    step,
    sync,
)

app = App("wrong")


class SignedUp(Event, name="user/signed.up"):
    user_id: str
    email: str


class Item(Event, name="item/created"):
    id: str


class Misspelt(Event, nam="x"):  # E class keyword
    a: int


async def find_user(user_id: str) -> int:
    return 1


def thumb(image: str) -> str:
    return image


@app.job
async def report(report_id: str, *, pages: int = 1) -> str:
    return report_id


@app.job(retries="3")  # E option type
async def j1(a: int) -> None: ...


@app.job(retrys=3)  # E option name
async def j2(a: int) -> None: ...


@app.function(on=SignedUp)  # E handler takes the wrong event
async def f1(event: Item) -> None: ...


@app.function(on=SignedUp)  # E handler takes two arguments
async def f2(event: SignedUp, other: int) -> None: ...


@app.function(on=(SignedUp, Item))  # E handler covers one of two triggers
async def f4(event: SignedUp) -> None: ...


@app.function(on=Trigger(SignedUp, if_exp=lambda e: e.plan == "pro"))  # E no such field
async def f6(event: SignedUp) -> None: ...


@app.function(on=SignedUp, durability="never")  # E no such durability
async def f7(event: SignedUp) -> None: ...


@app.function(on=SignedUp, cancel=Cancel(3))  # E a number is no event
async def f8(event: SignedUp) -> None: ...


@app.function(on=SignedUp, timeouts=Timeouts(finish=5))  # E a number is no duration
async def f9(event: SignedUp) -> None: ...


@app.function(on=SignedUp, retries=Retries("3"))  # E option type
async def f10(event: SignedUp) -> None: ...


@app.function(on=Item)
async def fine(item: Item) -> None: ...


@fine.on_failure  # E failure handler takes the wrong event
async def oops(failure: Failure, event: SignedUp) -> None: ...


@report.on_failure  # E failure handler takes other arguments
async def oops2(failure: Failure, report_id: int) -> None: ...


@app.on_failure  # E the app's failure handler gets the failure alone
async def oops3(failure: Failure, event: SignedUp) -> None: ...


async def calls() -> None:
    await report.enqueue(1)  # E argument type
    await report.enqueue()  # E argument missing
    await report.enqueue("r", page=2)  # E unknown argument
    await report.enqueue("r", delay="5s")  # E options do not go here
    await report.with_options(dely="5s").enqueue("r")  # E unknown option
    await report.with_options(delay=5).enqueue("r")  # E a number is no duration
    await report.with_options(at="tomorrow").enqueue("r")  # E not a datetime
    await report.with_options(tags=["a"]).enqueue("r")  # E tags have names
    await app.enqueue_many([report.bind(1)])  # E argument type
    await app.enqueue_many([("r1",)])  # E a tuple is no bound job
    report.enqueue("r")  # E not awaited
    app.send(SignedUp(user_id="u", email="e"))  # E not awaited
    job = await report.enqueue("r")
    (await job.result()).nope  # E result is str
    await job.result(timeout=5)  # E a number is no duration
    await app.send(SignedUp(user_id="u"))  # E field missing
    await app.send(SignedUp(user_id=1, email="e"))  # E field type
    await app.send(SignedUp(user_id="u", email="e", id="x"))  # E unknown field
    await app.send(SignedUp("u", "e"))  # E fields by keyword
    await app.send(SignedUp)  # E a class is no event
    await app.send({"data": {}})  # E no name
    SignedUp(user_id="u", email="e").user_id = "x"  # E frozen
    SignedUp(user_id="u", email="e").with_options(key="x")  # E unknown option


async def steps(event: SignedUp) -> None:
    await step.run("a", find_user, 1)  # E argument type
    await step.run("a", find_user)  # E argument missing
    await step.run("a", find_user, "u", retries=3)  # E options do not go here
    await step.run(find_user, "u")  # E no id
    await step.run("a", find_user("u"))  # E a coroutine, not a function
    await step.with_options(retry=3).run("a", find_user, "u")  # E unknown option
    await step.sleep("a", 3)  # E a number is no duration
    await step.sleep_until("a", "tomorrow")  # E not a datetime
    (await step.wait_for_event("a", Item, timeout="1h")).id  # E may be None
    await step.wait_for_event("a", Item)  # E no timeout
    await step.wait_for_event("a", Item, timeout="1h", if_exp=lambda i: i.nope == 1)  # E no field
    await step.invoke("a", report, 1)  # E argument type
    await step.invoke("a", fine, event)  # E wrong event
    await step.map("a", thumb, [1, 2])  # E item type
    await step.enqueue("a", report)  # E argument missing
    await step.send_event("a", {"data": {}})  # E no name
    step.sleep("a", "1h")  # E not awaited
    async with asyncio.TaskGroup() as group:
        group.create_task(step.run("a", find_user, 1))  # E argument type
    progress.set("40")  # E not a number
    event.usr_id  # E no such field


def plain() -> None:
    sync(report.enqueue(1))  # E argument type
    sync(app.jobs.create("j", keep=5))  # E a number is no duration
    sync(app.jobs.update("j", status="done"))  # E no such status
    sync(app.jobs.update("j", error=ValueError("x")))  # E an error is told as text
    sync(report)  # E not a call
    print(sync(report.enqueue("r")).nope)  # E a Job
    report("r").nope  # E a coroutine


_ = datetime
