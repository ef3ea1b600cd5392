"""What the shop leaves to errands: its durable functions and jobs."""

import asyncio
from dataclasses import dataclass

from errands import App, Event, Failure, progress, step
from examples.shop import catalogue, database, documents, images, mail, settings

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


@dataclass(frozen=True)
class Document:
    file: str
    """Its path under /files."""


# -- what follows from events ----------------------------------------------------------------------


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
    what = f"{event.user_id}: {failure.name}: {failure.message}"
    await step.run("tell-support", mail.send, "support@example.com", "failed", what=what)


@app.function(on=AlbumCreated)
async def process_album(event: AlbumCreated) -> Album:
    """A step for each picture: they run in parallel, and a crash repeats only those in hand."""
    cover, thumbnails = await asyncio.gather(
        step.run("cover", images.make_cover, event.images[0]),
        step.map("thumbnail", images.make_thumbnail, event.images, concurrency=4),
    )
    return Album(cover, thumbnails)


# -- jobs: an order is three of them, enqueued in one call -----------------------------------------


@app.job(retries=4)
async def confirm_order(order_id: str) -> None:
    order = await step.run("get-order", database.find_order, order_id)
    total = documents.euros(order.total_cents)
    await step.run("send-mail", mail.send, order.email, "order", order=order.id, total=total)


@app.job(retries=9)
async def process_payment(order_id: str) -> int:
    """Gives the cents taken."""
    order = await step.run("get-order", database.find_order, order_id)
    return await step.run("take-payment", database.take_payment, order)


@app.job
async def generate_invoice(order_id: str) -> Document:
    order = await step.run("get-order", database.find_order, order_id)
    return Document(await step.run("write-pdf", documents.write_invoice, order))


# -- jobs that customers watch ---------------------------------------------------------------------


@app.job(retries=3)
async def import_csv(path: str) -> Imported:
    """A product list into the database, in a step for each chunk: there a crash resumes."""
    chunks = await step.run("cut-in-chunks", catalogue.cut, path)
    rows = 0
    for chunk in progress.track(chunks, message="importing rows"):
        rows += await step.run(f"rows-{chunk.first_row}", database.import_chunk, path, chunk)
    progress.set(100, f"{rows:,} rows imported")
    return Imported(len(chunks), rows)


@app.job
async def generate_report(report_id: str) -> Document:
    """What is in stock, as a PDF: a step counts each maker's products, the last one writes."""
    stocks = [
        await step.run(f"stock-{maker}", database.take_stock, maker)
        for maker in progress.track(catalogue.MAKERS, message="taking stock")
    ]
    progress.set(99, "writing the PDF")
    file = await step.run("write-pdf", documents.write_report, report_id, stocks)
    progress.set(100, "the report is ready")
    return Document(file)
