"""Any ASGI application: a guard around it, without a framework."""

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, TypeAlias

from errands.sdk.guard import is_internal

Scope: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send: TypeAlias = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App: TypeAlias = Callable[[Scope, Receive, Send], Awaitable[None]]

UNAUTHORIZED = b'{"error":"Unauthorized"}'


class InternalOnly:
    """ASGI middleware: 401 `{"error": "Unauthorized"}` unless the request bears INTERNAL_API_KEY.

    A WebSocket is refused before it is accepted.
    """

    def __init__(self, app: App, *, key: str | None = None) -> None:
        self._app, self._key = app, key

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        kind = scope["type"]
        if kind not in ("http", "websocket") or is_internal(authorization(scope), key=self._key):
            await self._app(scope, receive, send)
        elif kind == "http":
            await refuse(send)
        else:
            await send({"type": "websocket.close", "code": 1008})


def authorization(scope: Scope) -> str | None:
    """The header's value; None if there is none, or more than one."""
    found = [value for name, value in scope["headers"] if name == b"authorization"]
    return found[0].decode("latin-1") if len(found) == 1 else None


async def refuse(send: Send) -> None:
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(UNAUTHORIZED)).encode()),
        (b"www-authenticate", b"Bearer"),
    ]
    await send({"type": "http.response.start", "status": 401, "headers": headers})
    await send({"type": "http.response.body", "body": UNAUTHORIZED})
