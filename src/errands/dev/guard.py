"""Keeps web pages of others away from a server that has no keys.

A browser on this machine reaches loopback on behalf of any page it shows. Such a request is told by
its Origin; and by its Host, where a name of the page's own has been made to point here.
"""

from collections.abc import Sequence
from urllib.parse import urlsplit

from starlette.types import ASGIApp, Receive, Scope, Send

from errands.api.problems import Refusal, answer
from errands.listening import is_loopback


class Guard:
    """An ASGI app for this machine, and for pages of these origins ("*": of all)."""

    def __init__(self, app: ASGIApp, origins: Sequence[str]) -> None:
        self._app, self._origins = app, origins

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            headers = dict(scope["headers"])
            host = headers.get(b"host", b"").decode("latin-1")
            origin = headers.get(b"origin", b"").decode("latin-1")
            if not _is_here(f"//{host}"):
                return await _refusal(f"Host is {host!r}, no name of this machine")(
                    scope, receive, send
                )
            if origin and not self._may(origin):
                return await _refusal(f"Origin is {origin!r}")(scope, receive, send)
        return await self._app(scope, receive, send)

    def _may(self, origin: str) -> bool:
        return origin in self._origins or "*" in self._origins or _is_here(origin)


def _is_here(url: str) -> bool:
    try:
        return is_loopback(urlsplit(url).hostname or "")
    except ValueError:
        return False


def _refusal(why: str) -> ASGIApp:
    return answer(
        Refusal(
            403,
            "not_from_here",
            f"This development server has no keys, so it answers this machine alone: {why}.",
            hint="Let a page of another origin in with ERRANDS_CORS_ORIGINS; for others on the "
            "network there is `errands serve`, with keys.",
        )
    )
