"""`errands send`: put in an event, and follow what it starts."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from errands.cli.completing import event_names
from errands.cli.options import Json, Url

if TYPE_CHECKING:
    from errands.cli.connection import Api


def send(
    name: Annotated[
        str,
        typer.Argument(
            metavar="NAME", help='The event\'s name: "order/paid".', autocompletion=event_names
        ),
    ],
    data: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[DATA]",
            help="A JSON object, @FILE, or - for stdin; or pairs: key=text, key:=JSON.",
        ),
    ] = None,
    id: Annotated[
        str | None,
        typer.Option(
            metavar="TEXT", help="Its id: the same one within 24 h is not accepted twice."
        ),
    ] = None,
    ts: Annotated[
        str | None,
        typer.Option(metavar="TIME", help="When it happened: Unix milliseconds, or ISO 8601."),
    ] = None,
    user: Annotated[
        str | None,
        typer.Option(metavar="JSON", help="Whom it is about, as a JSON object, @FILE or -."),
    ] = None,
    follow: Annotated[
        bool, typer.Option("--follow/--no-follow", help="Follow its runs until they are over.")
    ] = True,
    store: Url = None,
    json: Json = False,
) -> None:
    """Send an event, and follow the runs it starts. Exit code 1 if one of them fails."""
    from errands.cli.connection import connected
    from errands.cli.given import given_object, given_time
    from errands.cli.output import exit_as, is_for_people, print_json

    event: dict[str, Any] = {"name": name, "data": given_object(data or [], "DATA")}
    if id is not None:
        event["id"] = id
    if ts is not None:
        event["ts"] = given_time(ts, "--ts")
    if user is not None:
        event["user"] = given_object([user], "--user")
    for_people, runs = is_for_people(json), list[dict[str, Any]]()
    with connected(store) as api:
        (accepted,) = api.post("e", _event_key(api), body=event)["ids"]
        if for_people:
            typer.echo(f"Event {accepted} {name} is accepted.")
        if follow:
            runs = _follow(accepted, name, api, for_people=for_people)
    if not for_people:
        print_json({"id": accepted, "name": name} | ({"runs": runs} if follow else {}))
    exit_as(runs)


def _event_key(api: "Api") -> str:
    """The API token would do as well, but is too good for a URL."""
    return api.settings.event_keys[0] if api.settings.event_keys else "none"


def _follow(event: str, name: str, api: "Api", *, for_people: bool) -> list[dict[str, Any]]:
    from errands.cli.watch import follow_here

    ids = [run["id"] for run in api.get("api", "events", event)["runs"]]
    if not ids:
        typer.echo(_nobody_listens(name, api), err=True)
        return []
    return follow_here(api, ids, for_people=for_people)


def _nobody_listens(name: str, api: "Api") -> str:
    from difflib import get_close_matches

    functions = api.get("api", "functions")["functions"]
    names = {
        trigger["event"]
        for function in functions
        if not function["retired"]
        for trigger in function["triggers"]
    }
    if name in names:
        return "It starts no run: the conditions of those who listen to it are not met."
    near = get_close_matches(name, names)
    hint = f"Did you mean {near[0]!r}?" if near else "`errands functions list` shows who listens."
    return f"It starts no run: no function listens to {name!r}. {hint}"
