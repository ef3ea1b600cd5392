"""Imports with pydantic models: events, arguments, results; a job's status for a web page."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from pydantic import BaseModel, Field

from errands import App, JobNotFound, JobStatus, Unavailable, progress
from errands.pydantic import Event

app = App("imports", url="sqlite:///imports.db")


class SignedUp(Event, name="user/signed.up"):
    user_id: int
    email: str = Field(pattern=".+@.+")


class ImportResult(BaseModel):
    rows: int
    refused: list[str] = []


class Report(BaseModel):
    url: str


@app.job(retries=2, durability="run")
def import_csv(path: Path) -> ImportResult:
    rows = path.read_text().splitlines()
    for _row in progress.track(rows, message="importing"):
        pass
    return ImportResult(rows=len(rows))


@app.job
async def generate_report(report_id: str, account: int) -> Report:
    progress.set(40, f"account {account}")
    return Report(url=f"/reports/{report_id}.pdf")


@app.function(on=SignedUp)
async def greet(event: SignedUp) -> None:
    print(event.email, event.envelope.id)


async def create_user(email: str) -> str:
    return await app.send(SignedUp(user_id=7, email=email).with_options(user={"ip": "::1"}))


async def start_import(file: Path) -> dict[str, str]:
    try:
        job = await import_csv.enqueue(file)
    except Unavailable as error:
        return {"error": error.hint}
    return {"job": job.id}


async def start_report(report_id: str, account: int) -> str:
    tagged = generate_report.with_options(tags={"account": str(account)}, retries=1)
    return (await tagged.enqueue(report_id, account)).id


async def report_file(job_id: str) -> Report | None:
    status: JobStatus[Report] = await generate_report.job(job_id).status()
    return status.result


async def job_status(id: str) -> dict[str, Any] | None:
    try:
        return (await app.jobs.get(id)).to_dict()
    except JobNotFound:
        return None


async def job_live(id: str) -> AsyncIterator[str]:
    async for update in generate_report.job(id).watch():
        yield f"{update.status} {update.progress or 0:.0f}% {update.message or ''}\n"


async def transcode(upload: str, seconds: float) -> str:
    """Work that another service does, which tells how it goes."""
    job = await app.jobs.create(f"transcode-{upload}", keep="2 days")
    await app.jobs.update(job.id, status="processing", progress=100 * seconds / 60, message="...")
    return job.id


async def transcoded(job_id: str, url: str | None) -> bool:
    if url is None:
        return (await app.jobs.update(job_id, error="no video in it")).is_final
    return (await app.jobs.update(job_id, result=Report(url=url))).is_final
