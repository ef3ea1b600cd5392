"""An app that the tests of the API reach."""

import logging
from typing import Any

from errands import App, Event, step

app = App("shop")
log = logging.getLogger("shop")


class SignedUp(Event, name="user/signed.up"):
    user_id: str


@app.function(on=SignedUp, retries=0)
async def welcome(event: SignedUp) -> str:
    log.warning("welcome %s", event.user_id)
    return await step.run("greet", greet, event.user_id)


def greet(user_id: str) -> str:
    if user_id == "nobody":
        raise LookupError("there is no such user")
    return f"Welcome, {user_id}!"


@app.function(on="order/*")
async def ordered(event: Any) -> None:
    await step.sleep("until tomorrow", "1 day")


@app.job(retries=0)
async def add(a: int, b: int = 0) -> int:
    return a + b


@app.job()
async def nap() -> None:
    await step.sleep("nap", "1 day")
