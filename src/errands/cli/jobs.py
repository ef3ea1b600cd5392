"""`errands jobs`: runs as their owners see them; and external jobs, whose work others do."""

from enum import StrEnum
from typing import Annotated, Any

import typer

from errands.cli.lazy import make_group
from errands.cli.options import Json, Limit, Reason, Status, Url

jobs = make_group("jobs", "Jobs as their owners see them; external ones too.")
JobId = Annotated[
    str, typer.Argument(metavar="ID", help="The job's id; of an external one, its own.")
]


class State(StrEnum):
    PENDING = "pending"
    PROCESSING = "processing"
    COMPLETED = "completed"
    FAILED = "failed"


@jobs.command("list")
def list_jobs(
    status: Status = None,
    limit: Limit = 50,
    before: Annotated[
        str | None, typer.Option(metavar="ID", help="The next page: jobs older than this one.")
    ] = None,
    store: Url = None,
    json: Json = False,
) -> None:
    """Jobs, the newest first."""
    from errands.cli.connection import connected
    from errands.cli.output import is_for_people, print_json, tell_of_older

    with connected(store) as api:
        page = api.get("api", "runs", status=status and status.value, limit=limit, cursor=before)
    if not is_for_people(json):
        return print_json([_as_job(run) for run in page["runs"]])
    from errands.cli.job_view import print_jobs

    print_jobs(page["runs"])
    return tell_of_older("errands jobs list", page)


@jobs.command()
def show(id: JobId, store: Url = None, json: Json = False) -> None:
    """The status of one job."""
    from errands.cli.connection import connected

    with connected(store) as api:
        job = api.get("api", "jobs", id, "status")
    _show(job, json)


@jobs.command()
def watch(id: JobId, store: Url = None, json: Json = False) -> None:
    """Follow a job until it is over. Exit code 1 if it failed.

    Elsewhere than on a terminal each change is one line of JSON.
    """
    from errands.cli.connection import connected
    from errands.cli.job_view import live_job
    from errands.cli.output import exit_as, is_for_people
    from errands.cli.watch import drawing, follow, tell_lines

    with connected(store) as api:
        if is_for_people(json):
            with drawing(live_job) as tell:
                found = follow(api, [id], tell, noun="jobs")
        else:
            found = follow(api, [id], tell_lines(), noun="jobs")
    exit_as(found)


@jobs.command()
def cancel(id: JobId, reason: Reason = None, store: Url = None, json: Json = False) -> None:
    """End a job as cancelled. One that is over stays as it is."""
    from errands.cli.connection import connected
    from errands.cli.output import is_for_people, print_json, tell_of_cancel

    with connected(store) as api:
        job = api.get("api", "jobs", id, "status")
        was_over = job["status"] in ("completed", "failed")
        if not was_over:
            job = api.post("api", "jobs", id, "cancel", body={"reason": reason} if reason else {})
    if is_for_people(json):
        tell_of_cancel("Job", job, was_over=was_over)
    else:
        print_json(job)


@jobs.command()
def create(
    id: Annotated[
        str | None,
        typer.Argument(metavar="[ID]", help="Its id, 1 to 255 characters; else one is made."),
    ] = None,
    keep: Annotated[
        str | None,
        typer.Option(metavar="DURATION", help='How long it is kept: "24h".', show_default=False),
    ] = None,
    store: Url = None,
    json: Json = False,
) -> None:
    """Make an external job: one whose work your own code does, and reports with `update`."""
    from errands.cli.connection import connected

    body = {name: value for name, value in (("id", id), ("keep", keep)) if value is not None}
    with connected(store) as api:
        job = api.post("api", "jobs", body=body)
    _show(job, json)


@jobs.command()
def update(
    id: JobId,
    status: Annotated[State | None, typer.Option(help="How it goes.", show_default=False)] = None,
    progress: Annotated[
        float | None, typer.Option(metavar="N", help="0 to 100.", show_default=False)
    ] = None,
    message: Annotated[
        str | None, typer.Option(metavar="TEXT", help="What it is at.", show_default=False)
    ] = None,
    result: Annotated[
        str | None,
        typer.Option(metavar="JSON", help="What came out: JSON, @FILE or -.", show_default=False),
    ] = None,
    error: Annotated[
        str | None, typer.Option(metavar="TEXT", help="Why it failed.", show_default=False)
    ] = None,
    store: Url = None,
    json: Json = False,
) -> None:
    """Report on an external job; what is not named stays as it is."""
    from errands.cli.connection import connected
    from errands.cli.given import given_json
    from errands.model.errors import InvalidConfig

    told: dict[str, Any] = {
        "status": status and status.value,
        "progress": progress,
        "message": message,
        "error": error,
    }
    body = {name: value for name, value in told.items() if value is not None}
    if result is not None:
        body["result"] = given_json(result, "--result")
    if not body:
        raise InvalidConfig(
            "Nothing is to be changed.", hint="For example --progress 40 --message halfway."
        )
    with connected(store) as api:
        job = api.patch("api", "jobs", id, body=body)
    _show(job, json)


def _as_job(run: dict[str, Any]) -> dict[str, Any]:
    """A run as its owner sees it, with where it is from."""
    return {
        "id": run["id"],
        "function": f"{run['app']}/{run['function']}",
        "status": "failed" if run["status"] == "cancelled" else run["status"],
        "progress": run["progress"],
        "message": run["message"],
        "error": run["error"] if run["cancelled"] is None else f"cancelled: {run['cancelled']}",
        "createdAt": run["createdAt"],
        "updatedAt": run["updatedAt"],
    }


def _show(job: dict[str, Any], as_json: bool) -> None:
    from errands.cli.output import is_for_people, print_json

    if not is_for_people(as_json):
        return print_json(job)
    from errands.cli.job_view import print_job

    return print_job(job)
