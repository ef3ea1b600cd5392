"""What a shell is offered for an argument: asked of errands, and nothing where that fails."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from errands.cli.connection import Api

OFFERED = 50
Offer = tuple[str, str]
"""A value, and a word about it, where the shell shows that."""


def run_ids(context: typer.Context, incomplete: str) -> list[Offer]:
    return _offered(context, incomplete, _runs)


def event_names(context: typer.Context, incomplete: str) -> list[Offer]:
    return _offered(context, incomplete, _triggers)


def function_names(context: typer.Context, incomplete: str) -> list[Offer]:
    return _offered(context, incomplete, _functions)


def _runs(api: "Api") -> list[Offer]:
    found: list[dict[str, Any]] = api.get("api", "runs", limit=OFFERED)["runs"]
    return [(run["id"], f"{run['app']}/{run['function']} {run['status']}") for run in found]


def _triggers(api: "Api") -> list[Offer]:
    return [
        (trigger["event"], f"starts {function['id']}")
        for function in api.get("api", "functions")["functions"]
        for trigger in function["triggers"]
    ]


def _functions(api: "Api") -> list[Offer]:
    return [(one["id"], one["kind"]) for one in api.get("api", "functions")["functions"]]


def _offered(
    context: typer.Context, incomplete: str, ask: Callable[["Api"], list[Offer]]
) -> list[Offer]:
    from errands.cli.connection import connected
    from errands.cli.output import printable
    from errands.model.errors import ErrandsError

    try:
        with connected(context.params.get("store")) as api:
            offers = dict(ask(api))
    except ErrandsError:
        # A line that is being written is no place for an error.
        return []
    return [
        (value, printable(word))
        for value, word in offers.items()
        if value.startswith(incomplete) and value == printable(value)
    ]
