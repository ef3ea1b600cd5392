"""The App of `errands demo`: a sign-up whose mail server has a bad moment, and an import."""

import asyncio

from errands import App, Event, Retries, current_run, progress, step

app = App("demo")
PHOTOS = ("sea", "hills", "harbour")


class SignedUp(Event, name="demo/signed-up"):
    name: str


@app.function(on=SignedUp, retries=Retries(3, delay="600ms", jitter=False))
async def welcome(event: SignedUp) -> str:
    await step.run("create-account", create_account, event.name)
    await step.run("send-mail", send_mail, event.name)
    await step.sleep("a-while", "1500ms")
    await step.run("ask-how-it-goes", ask_how_it_goes, event.name)
    return f"{event.name} is welcome"


async def create_account(name: str) -> str:
    await asyncio.sleep(0.3)
    return f"account of {name}"


async def send_mail(name: str) -> str:
    await asyncio.sleep(0.3)
    if current_run().attempt == 0:
        raise ConnectionError("the mail server hangs up")
    return f"mail to {name}"


async def ask_how_it_goes(name: str) -> str:
    await asyncio.sleep(0.2)
    return f"question to {name}"


@app.function(on=SignedUp)
async def make_album(event: SignedUp) -> list[str]:
    thumbnails: list[str] = []
    for number, photo in enumerate(PHOTOS):
        progress.set(100 * number / len(PHOTOS), f"photo {number + 1} of {len(PHOTOS)}")
        thumbnails.append(await step.run(f"thumbnail-{photo}", make_thumbnail, photo))
    progress.set(100, "all photos")
    return thumbnails


async def make_thumbnail(photo: str) -> str:
    await asyncio.sleep(0.8)
    return f"{photo}-small"
