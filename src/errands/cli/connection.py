"""Where errands is, and how a command asks it: always by the HTTP API.

A server is asked over the network. Of a store the same API is asked inside this process, so that
both give the same answers. Nothing but `migrate`, workers and servers ever makes a store.
"""

import os
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any, NoReturn, Protocol
from urllib.parse import quote, urlencode

import msgspec

from errands.model.errors import ErrandsError, InvalidConfig
from errands.sdk.backend import DEFAULT_URL
from errands.settings import Settings, settings_here
from errands.store.interface import Store
from errands.store.open import is_postgres, open_store, sqlite_path

CONFLICT, UNAUTHORIZED = 409, 401


def errands_url(given: str | None) -> str:
    """--url or --store, else ERRANDS_URL, else the default file."""
    return given or os.environ.get("ERRANDS_URL") or DEFAULT_URL


def is_server(url: str) -> bool:
    return url.startswith(("http://", "https://"))


def store_url(given: str | None) -> str:
    """The same, where it takes a store. Raises InvalidConfig."""
    url = errands_url(given)
    if is_server(url):
        raise InvalidConfig(
            f"{url} is a server; this command needs its store.",
            hint="Run it where the server runs: --store sqlite:///path.",
        )
    return url


def check_exists(url: str) -> None:
    """Raises InvalidConfig."""
    if is_postgres(url):
        return  # opening it says what is wrong
    path = sqlite_path(url)
    if not path.is_file():
        raise InvalidConfig(
            f"There is no store at {path.absolute()}.",
            hint="Say where it is: --store sqlite:///path, or ERRANDS_URL; of a server, its URL. "
            "`errands dev` makes one, so does a worker when it starts, and `errands migrate`.",
        )


def open_existing(url: str) -> Store:
    """Raises InvalidConfig, MigrationNeeded, StoreError."""
    check_exists(url)
    return open_store(url, migrate=False)


# -- asking ----------------------------------------------------------------------------------------


class Transport(Protocol):
    def ask(self, method: str, path: str, query: str, body: bytes) -> tuple[int, bytes]:
        """Status and body of the answer. Blocks. Raises ErrandsError."""
        ...

    def close(self) -> None: ...


class Api:
    """What a command asks; each answer is plain JSON. Raises ErrandsError, InvalidConfig."""

    def __init__(self, transport: Transport, settings: Settings, *, is_local: bool) -> None:
        self._transport, self.settings, self.is_local = transport, settings, is_local

    def get(self, *path: str, **query: Any) -> Any:
        """None in a query: not asked."""
        return self._ask("GET", path, query, b"")

    def post(self, *path: str, body: Any = None) -> Any:
        return self._ask("POST", path, {}, b"" if body is None else msgspec.json.encode(body))

    def patch(self, *path: str, body: Any) -> Any:
        return self._ask("PATCH", path, {}, msgspec.json.encode(body))

    def look(self, *path: str, **query: Any) -> tuple[int, dict[str, Any]]:
        """What a GET is answered, whatever the status; {}: nothing that errands would say."""
        return self._told("GET", path, query, b"")

    def _ask(self, method: str, path: tuple[str, ...], query: dict[str, Any], body: bytes) -> Any:
        status, told = self._told(method, path, query, body)
        if not told or status >= 400:
            _refused(status, told)
        return told

    def _told(
        self, method: str, parts: tuple[str, ...], query: dict[str, Any], body: bytes
    ) -> tuple[int, dict[str, Any]]:
        path = "".join(f"/{quote(part, safe='')}" for part in parts)
        asked = urlencode({name: value for name, value in query.items() if value is not None})
        status, answer = self._transport.ask(method, path, asked, body)
        try:
            return status, msgspec.json.decode(answer, type=dict[str, Any])
        except msgspec.DecodeError:
            return status, {}


def _refused(status: int, problem: dict[str, Any]) -> NoReturn:
    """The error that a problem document tells of."""
    detail = problem.get("detail") or problem.get("error")
    if detail is None:
        raise ErrandsError(
            f"The answer was {status}, without a word that errands would say.",
            hint="Is it errands that answers at this URL?",
        )
    detail = detail if detail.endswith((".", "!", "?")) else f"{detail}."
    hint = problem.get("hint", "")
    if status == UNAUTHORIZED:
        hint = "Set ERRANDS_API_TOKEN, and to send ERRANDS_EVENT_KEY, to the server's."
    elif any(one.get("pointer") == "cursor" for one in problem.get("errors", ())):
        detail, hint = "--before: there is no such id here.", "The list shows the ids."
    if 400 <= status < 500 and status != CONFLICT:
        raise InvalidConfig(detail, hint=hint)
    raise ErrandsError(detail, hint=hint)


@contextmanager
def connected(given: str | None) -> Generator[Api]:
    """errands, wherever it is. Raises InvalidConfig, MigrationNeeded, StoreError, Unavailable."""
    url, settings = errands_url(given), settings_here()
    transport: Transport
    if is_server(url):
        from errands.cli.remote import Remote

        transport = Remote(url, settings.api_token)
    else:
        from errands.cli.local import Local

        check_exists(url)
        transport = Local(lambda: open_existing(url), settings)
    try:
        yield Api(transport, settings, is_local=not is_server(url))
    finally:
        transport.close()
