"""What `errands doctor` looks at of a server: is it there, can it work, may we ask it."""

from collections.abc import Iterator

from errands.cli.connection import Api, connected
from errands.cli.examine import Finding
from errands.model.errors import ErrandsError, InvalidConfig, Unavailable


def examine_server(url: str) -> Iterator[Finding]:
    with connected(url) as api:
        try:
            status, health = api.look("health")
        except Unavailable as error:
            yield Finding("server", False, str(error.args[0]), error.hint)
            return
        if health.get("status") != "ok":
            yield Finding(
                "server",
                False,
                f"What answers at {url} is no errands server: {status} to /health.",
                "Which port does it listen on? `errands dev` and `errands serve` say so.",
            )
            return
        yield Finding("server", True, f"It answers at {url}.")
        yield from _ready(api)
        yield from _token(api)


def _ready(api: Api) -> Iterator[Finding]:
    _, told = api.look("ready")
    for check, found in told.get("checks", {}).items():
        is_ok = found == "ok"
        yield Finding(
            check,
            is_ok,
            "ok" if is_ok else f"The server says: {found}.",
            None if is_ok else "Run `errands doctor --store …` where the server runs.",
        )


def _token(api: Api) -> Iterator[Finding]:
    try:
        count = len(api.get("api", "functions")["functions"])
    except InvalidConfig as error:
        yield Finding("token", False, str(error.args[0]), error.hint)
    except ErrandsError as error:
        yield Finding("token", False, str(error.args[0]), error.hint or "Look into its log.")
    else:
        yield Finding("token", True, f"The server lets us ask. It knows {count} functions.")
