"""`errands runs`: see runs, follow them, end and repeat them."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from errands.cli.completing import function_names, run_ids
from errands.cli.lazy import make_group
from errands.cli.options import Json, Limit, Reason, RunId, Status, Url

if TYPE_CHECKING:
    from errands.cli.connection import Api

runs = make_group("runs", "See runs, follow, cancel and repeat them.")
PAGE = 1_000


@runs.command("list")
def list_runs(
    status: Status = None,
    function: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help='Only of this one: "add" or "shop/add".',
            autocompletion=function_names,
        ),
    ] = None,
    tag: Annotated[
        str | None, typer.Option(metavar="KEY=VALUE", help="Only with this tag.")
    ] = None,
    limit: Limit = 50,
    before: Annotated[
        str | None, typer.Option(metavar="ID", help="The next page: runs older than this one.")
    ] = None,
    store: Url = None,
    json: Json = False,
) -> None:
    """Runs, the newest first."""
    from errands.cli.connection import connected
    from errands.cli.output import is_for_people, print_json, tell_of_older

    if tag is not None:
        _check_tag(tag)
    with connected(store) as api:
        asked = {"status": status and status.value, "function": function, "tag": tag}
        page = api.get("api", "runs", limit=limit, cursor=before, **asked)
        if not page["runs"] and function is not None:
            _check_function(function, api)
    if not is_for_people(json):
        return print_json(page["runs"])
    from errands.cli.run_table import print_runs

    print_runs(page["runs"])
    return tell_of_older("errands runs list", page)


@runs.command()
def show(
    id: RunId,
    logs: Annotated[bool, typer.Option("--logs", help="With what the run has logged.")] = False,
    store: Url = None,
    json: Json = False,
) -> None:
    """All that is known of one run: input, steps, history, outcome."""
    from errands.cli.connection import connected
    from errands.cli.output import is_for_people, print_json

    with connected(store) as api:
        run = api.get("api", "runs", id)
        if logs:
            run["logs"] = _logs(id, api)
    if not is_for_people(json):
        return print_json(run)
    from errands.cli.run_view import print_run

    return print_run(run)


@runs.command()
def watch(
    ids: Annotated[
        list[str],
        typer.Argument(metavar="ID…", help="Runs, as lists show them.", autocompletion=run_ids),
    ],
    store: Url = None,
    json: Json = False,
) -> None:
    """Follow runs until they are over. Exit code 1 if one failed.

    Elsewhere than on a terminal each change is one line of JSON.
    """
    from errands.cli.connection import connected
    from errands.cli.output import exit_as, is_for_people
    from errands.cli.watch import drawing, follow, tell_lines

    with connected(store) as api:
        if is_for_people(json):
            from errands.cli.run_view import live_view

            with drawing(live_view) as tell:
                found = follow(api, ids, tell)
        else:
            found = follow(api, ids, tell_lines())
    exit_as(found)


@runs.command()
def cancel(id: RunId, reason: Reason = None, store: Url = None, json: Json = False) -> None:
    """End a run as cancelled. What it has done stays done; a run that is over stays as it is."""
    from errands.cli.connection import connected
    from errands.cli.output import is_for_people, print_json, tell_of_cancel

    with connected(store) as api:
        before = api.get("api", "runs", id)
        run = before
        if before["endedAt"] is None:
            asked = {} if reason is None else {"reason": reason}
            run = api.post("api", "runs", id, "cancel", body=asked)
    if is_for_people(json):
        tell_of_cancel("Run", run, was_over=before["endedAt"] is not None)
    else:
        print_json(run)


@runs.command()
def rerun(
    id: RunId,
    follow: Annotated[
        bool, typer.Option("--follow/--no-follow", help="Follow the new run until it is over.")
    ] = False,
    store: Url = None,
    json: Json = False,
) -> None:
    """Start a new run with the same input. The old one stays as it is."""
    from errands.cli.connection import connected
    from errands.cli.output import exit_as, is_for_people, print_json
    from errands.cli.watch import follow_here

    with connected(store) as api:
        run = api.post("api", "runs", id, "rerun")
        for_people = is_for_people(json)
        if for_people:
            typer.echo(f"Run {run['id']} repeats {id}.")
        if follow:
            (run,) = follow_here(api, [run["id"]], for_people=for_people)
    if not for_people:
        print_json(run)
    if follow:
        exit_as([run])


def _logs(id: str, api: "Api") -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    cursor = None
    while True:
        page = api.get("api", "runs", id, "logs", after=cursor, limit=PAGE)
        found += page["logs"]
        cursor = page["cursor"]
        if not page["logs"]:
            return found


def _check_tag(tag: str) -> None:
    from errands.model.errors import InvalidConfig

    name, is_there, _ = tag.partition("=")
    if not (name and is_there):
        raise InvalidConfig(f"--tag: {tag!r} is no KEY=VALUE.", hint="For example --tag tenant=t1.")


def _check_function(name: str, api: "Api") -> None:
    from errands.model.errors import InvalidConfig

    known = sorted(one["id"] for one in api.get("api", "functions")["functions"])
    if not any(name in (one, one.partition("/")[2]) for one in known):
        raise InvalidConfig(
            f"--function: there is no function {name!r} here.",
            hint=f"There are {', '.join(known)}."
            if known
            else "There is none at all yet: a worker, or whoever sends first, registers them.",
        )
