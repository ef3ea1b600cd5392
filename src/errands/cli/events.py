"""`errands events`: what was sent, and what it started."""

from typing import Annotated, Any

import typer

from errands.cli.lazy import make_group
from errands.cli.options import Json, Limit, Url

events = make_group("events", "See what was sent, and what it started.")


@events.command("list")
def list_events(
    name: Annotated[
        str | None, typer.Option(metavar="NAME", help="Only of this name.", show_default=False)
    ] = None,
    limit: Limit = 50,
    before: Annotated[
        str | None, typer.Option(metavar="ID", help="The next page: events older than this one.")
    ] = None,
    store: Url = None,
    json: Json = False,
) -> None:
    """Events, the newest first."""
    from errands.cli.connection import connected
    from errands.cli.output import is_for_people, print_json, tell_of_older

    with connected(store) as api:
        page = api.get("api", "events", name=name, limit=limit, cursor=before)
    if not is_for_people(json):
        return print_json(page["events"])
    _print_list(page["events"])
    return tell_of_older("errands events list", page)


@events.command()
def show(
    id: Annotated[str, typer.Argument(metavar="ID", help="The event's id, as lists show it.")],
    store: Url = None,
    json: Json = False,
) -> None:
    """One event, and the runs it has started."""
    from errands.cli.connection import connected
    from errands.cli.output import is_for_people, print_json

    with connected(store) as api:
        event = api.get("api", "events", id)
    if not is_for_people(json):
        return print_json(event)
    return _print_event(event)


def _print_list(found: list[dict[str, Any]]) -> None:
    import msgspec

    from errands.cli.output import console, short_time
    from errands.cli.table import print_table
    from errands.clock import SystemClock

    if not found:
        console().print("No events.")
        return
    now = SystemClock().now()
    rows = [(one["id"], one["name"], short_time(one["receivedAt"], now)) for one in found]
    remarks = [msgspec.json.encode(one["data"]).decode() for one in found]
    print_table(("EVENT", "NAME", "RECEIVED"), rows, kept=2, remarks=remarks)


def _print_event(event: dict[str, Any]) -> None:
    from rich.text import Text

    from errands.cli.output import clock_time, console, printable
    from errands.cli.run_table import print_runs
    from errands.cli.run_view import value_of

    out = console()
    out.print(Text.assemble((printable(event["id"]), "bold"), f"  {printable(event['name'])}"))
    facts = (
        ("received", clock_time(event["receivedAt"])),
        ("happened", clock_time(event["ts"])),
        ("version", printable(event.get("v") or "")),
        ("user", value_of(event["user"]) if event.get("user") else ""),
        ("data", value_of(event["data"])),
    )
    for name, value in facts:
        if value:
            out.print(Text.assemble((f"  {name:<12}", "dim"), value))
    out.print("\n[bold]Runs[/]")
    print_runs(event["runs"])
