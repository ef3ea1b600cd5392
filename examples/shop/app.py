"""The shop's durable functions: what a worker executes.

errands worker examples.shop.app:app
"""

import asyncio
from dataclasses import dataclass

from errands import App, Event, Failure, progress, step
from examples.shop import catalogue, database, images, mail, settings

app = App("shop")


class SignedUp(Event, name="user/signed.up"):
    user_id: str
    email: str


class AlbumCreated(Event, name="album/created"):
    album: str
    images: list[str]


@dataclass(frozen=True)
class Imported:
    chunks: int
    rows: int


@dataclass(frozen=True)
class Album:
    cover: str
    thumbnails: list[str]


@app.function(on=SignedUp, retries=4)
async def send_welcome_email(event: SignedUp) -> dict[str, bool]:
    """A welcome at once and a follow-up days later, in one function."""
    user = await step.run("get-user", database.find_user, event.user_id)
    await step.run("send-welcome", mail.send, event.email, "welcome", name=user.name)
    await step.sleep("wait-for-followup", settings.FOLLOWUP_AFTER)
    await step.run("send-followup", mail.send, event.email, "followup", name=user.name)
    return {"sent": True}


@send_welcome_email.on_failure
async def tell_support(failure: Failure, event: SignedUp) -> None:
    """Somebody signed up and got no mail: a person should know."""
    note = f"{event.user_id}: {failure.name}: {failure.message}"
    await step.run("tell-support", mail.send, "support@example.com", "failed", name=note)


@app.function(on=AlbumCreated)
async def process_album(event: AlbumCreated) -> Album:
    """A step for each picture: they run in parallel, and a crash repeats only those in hand."""
    cover, thumbnails = await asyncio.gather(
        step.run("cover", images.make_cover, event.images[0]),
        step.map("thumbnail", images.make_thumbnail, event.images, concurrency=4),
    )
    return Album(cover, thumbnails)


@app.job(retries=3)
async def import_csv(path: str) -> Imported:
    """A product list into the database, in a step for each chunk: there a crash resumes."""
    chunks = await step.run("cut-in-chunks", catalogue.cut, path)
    rows = 0
    for chunk in progress.track(chunks, message="importing rows"):
        rows += await step.run(f"rows-{chunk.first_row}", database.import_chunk, path, chunk)
    progress.set(100, f"{rows:,} rows imported")
    return Imported(len(chunks), rows)
