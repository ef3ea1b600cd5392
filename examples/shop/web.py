"""The shop's web app: a route writes a row or a file, leaves the rest to errands, and answers.

uvicorn examples.shop.web:api
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote
from uuid import UUID, uuid4

from fastapi import Depends, FastAPI, HTTPException, Request, UploadFile
from fastapi.responses import FileResponse, JSONResponse, RedirectResponse
from fastapi.staticfiles import StaticFiles
from pydantic import BaseModel, Field

from errands import JobNotFound
from errands.integrations.fastapi import internal_only
from errands.sdk.background import run_background_job
from examples.shop import catalogue, database, documents, images, settings, uploads
from examples.shop.app import (
    AlbumCreated,
    SignedUp,
    app,
    confirm_order,
    generate_invoice,
    generate_report,
    import_csv,
    process_payment,
)

PAGES = Path(__file__).with_name("pages")
Name = Annotated[str, Field(min_length=1, max_length=200, pattern=r"^[^\r\n]+$")]
# Printable ASCII, with one "@": what every mail server takes.
Email = Annotated[str, Field(max_length=254, pattern=r"^[!-?A-~]+@[!-?A-~]+$")]


@asynccontextmanager
async def lifespan(api: FastAPI) -> AsyncIterator[None]:
    database.create()
    yield


api = FastAPI(title="The shop", lifespan=lifespan)
# All of errands in this process: its API under /errands, and a worker for as long as the app is up.
embedded = app.embed(api)
internal = Depends(internal_only(key=settings.INTERNAL_API_KEY))


class NewUser(BaseModel):
    name: Name
    email: Email


class NewOrder(BaseModel):
    email: Email
    things: Annotated[dict[str, Annotated[int, Field(ge=1, le=100)]], Field(min_length=1)]
    """How many of what, by name."""


class Notification(BaseModel):
    message: Annotated[str, Field(max_length=1_000)]


@api.post("/users", status_code=201)
async def sign_up(new: NewUser) -> dict[str, str]:
    """Called twice with one address, it is one user and one welcome: the event has its own id."""
    user = await asyncio.to_thread(database.sign_up, new.name, new.email)
    event = SignedUp(user_id=user.id, email=user.email)
    await app.send(event.with_options(id=f"signed-up-{user.id}"))
    return {"user": user.id}


@api.post("/orders", status_code=201)
async def create_order(new: NewOrder) -> dict[str, Any]:
    """Three jobs follow, accepted all together or not at all."""
    if unknown := new.things.keys() - catalogue.PRICES.keys():
        raise HTTPException(422, f"Not sold here: {', '.join(sorted(unknown))}.")
    lines = [database.Line(thing, n, catalogue.PRICES[thing]) for thing, n in new.things.items()]
    order = await asyncio.to_thread(database.add_order, new.email, lines)
    confirmation, payment, invoice = await app.enqueue_many(
        [
            confirm_order.bind(order.id),
            process_payment.with_options(delay=settings.PAYMENT_AFTER).bind(order.id),
            generate_invoice.bind(order.id),
        ]
    )
    tell_staff(f"Order {order.id}: {documents.euros(order.total_cents)}")
    jobs = {"confirmation": confirmation.id, "payment": payment.id, "invoice": invoice.id}
    return {"order": order.id, "jobs": jobs}


def tell_staff(message: str) -> None:
    """A request to the shop itself, which nobody waits for, and nobody repeats if it fails."""
    run_background_job(
        "/internal/notifications",
        {"message": message},
        base_url=settings.URL,
        key=settings.INTERNAL_API_KEY,
    )


@api.post("/internal/notifications", dependencies=[internal], status_code=201)
def notify(notification: Notification) -> dict[str, bool]:
    database.add_notification(notification.message)
    return {"success": True}


@api.get("/internal/notifications", dependencies=[internal])
def list_notifications() -> list[str]:
    return database.notifications()


@api.post("/albums", status_code=202)
async def create_album(pictures: list[UploadFile]) -> dict[str, str]:
    album = uuid4().hex
    names = [await uploads.keep_picture(album, n, picture) for n, picture in enumerate(pictures)]
    await app.send(AlbumCreated(album=album, images=names))
    return {"album": album}


@api.get("/albums/{album}")
async def show_album(album: UUID) -> dict[str, list[str]]:
    """The thumbnails that are there already, by their paths under /files."""
    return {"thumbnails": await asyncio.to_thread(images.list_thumbnails, album.hex)}


@api.post("/imports", status_code=202)
async def start_import(products: UploadFile) -> dict[str, str]:
    path = settings.DATA / "products" / f"{uuid4().hex}.csv"
    await uploads.keep(products, path)
    job = await import_csv.enqueue(str(path))
    return {"job": job.id}


@api.post("/reports", status_code=202)
async def order_report() -> dict[str, str]:
    job = await generate_report.enqueue(uuid4().hex)
    return {"job": job.id}


@api.get("/jobs/{id}/status")
async def job_status(id: str) -> dict[str, Any]:
    return (await app.jobs.get(id)).to_dict()


@api.get("/jobs/{id}/events")
async def job_events(id: str) -> RedirectResponse:
    """Who may follow a job is for the shop to say, here anybody; the stream itself is errands'.

    The browser comes this way each time it reconnects, so the token need not last.
    """
    await app.jobs.get(id)
    token = embedded.job_token(id, ttl="1m")
    return RedirectResponse(f"/errands/api/jobs/{quote(id, safe='')}/events?token={token}")


@api.exception_handler(JobNotFound)
async def job_not_found(request: Request, error: Exception) -> JSONResponse:
    return JSONResponse({"error": "Job not found"}, 404)


@api.get("/", include_in_schema=False)
async def show_shop() -> FileResponse:
    return FileResponse(PAGES / "index.html")


@api.get("/jobs/{id}", include_in_schema=False)
async def show_job(id: str) -> FileResponse:
    """The page asks for the job itself, and follows it."""
    return FileResponse(PAGES / "job.html")


api.mount("/pages", StaticFiles(directory=PAGES))
# Whoever knows a name may have the file; the names cannot be guessed.
api.mount("/files", StaticFiles(directory=settings.FILES, check_dir=False))
