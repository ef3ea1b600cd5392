"""`errands functions`: what is registered."""

from typing import Annotated, Any

import typer

from errands.cli.lazy import make_group
from errands.cli.options import Json, Url

functions = make_group("functions", "See what is registered.")


@functions.command("list")
def list_functions(
    app: Annotated[
        str | None, typer.Option(metavar="NAME", help="Only of this app.", show_default=False)
    ] = None,
    store: Url = None,
    json: Json = False,
) -> None:
    """Functions and jobs, by app and name."""
    from errands.cli.connection import connected
    from errands.cli.output import is_for_people, print_json

    with connected(store) as api:
        found = api.get("api", "functions", app=app)["functions"]
    if not is_for_people(json):
        return print_json(found)
    return _print(found)


def _print(found: list[dict[str, Any]]) -> None:
    from errands.cli.output import console
    from errands.cli.table import print_table

    if not found:
        console().print(
            "No functions. A worker registers those of its App: errands worker MODULE:APP"
        )
        return
    rows = [
        (
            one["id"],
            one["kind"],
            ", ".join(map(_trigger, one["triggers"])),
            str(one["retries"]["count"]),
        )
        for one in found
    ]
    remarks = ["retired: its App has it no more" if one["retired"] else "" for one in found]
    print_table(("FUNCTION", "KIND", "TRIGGERS", "RETRIES"), rows, kept=2, remarks=remarks)


def _trigger(trigger: dict[str, Any]) -> str:
    condition = f" if {trigger['condition']}" if trigger["condition"] else ""
    return f"{trigger['event']}{condition}"
