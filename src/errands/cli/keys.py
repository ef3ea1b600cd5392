"""`errands keys`: make the keys of a server."""

from typing import Annotated

import typer

from errands.cli.lazy import make_group

keys = make_group("keys", "Make the keys of a server.")
KEY_BYTES = 32
VARIABLES = {
    "ERRANDS_EVENT_KEY": ("", "may send events: in the path of POST /e/{key}"),
    "ERRANDS_SIGNING_KEY": ("signkey-prod-", "what the server signs with; it never leaves it"),
    "ERRANDS_API_TOKEN": ("", "may do everything: Authorization: Bearer …"),
}


@keys.command()
def new(
    json: Annotated[bool, typer.Option("--json", help="As one JSON object instead.")] = False,
) -> None:
    """Print a new set, as lines of an .env file, and how to use it."""
    import secrets

    from errands.cli.output import print_json

    made = {name: f"{prefix}{secrets.token_hex(KEY_BYTES)}" for name, (prefix, _) in _items()}
    if json:
        print_json(made)
        return
    for name, (_, use) in _items():
        typer.echo(f"# {use}\n{name}={made[name]}")
    typer.echo(
        "\nPut these lines into an .env file that no repository holds, with rights for you alone"
        "\n(chmod 600), and start the server with them:"
        "\n"
        "\n  set -a; . ./.env; set +a; errands serve"
        "\n"
        "\nClients need ERRANDS_URL and the API token, or the event key alone if they only send."
        "\nSeveral event keys, separated by commas, are valid side by side: to replace one.",
        err=True,
    )


def _items() -> list[tuple[str, tuple[str, str]]]:
    return list(VARIABLES.items())
