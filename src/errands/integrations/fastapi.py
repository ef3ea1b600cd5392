"""FastAPI: who may ask for what."""

from collections.abc import Awaitable, Callable

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from errands.integrations.asgi import UNAUTHORIZED, authorization
from errands.sdk.guard import is_internal

HANDLERS = "starlette.exception_handlers"


class Unauthorized(HTTPException):
    """Answered with exactly `{"error": "Unauthorized"}`."""

    def __init__(self) -> None:
        super().__init__(401, "Unauthorized", {"WWW-Authenticate": "Bearer"})


def internal_only(*, key: str | None = None) -> Callable[[Request], Awaitable[None]]:
    """A dependency: 401 `{"error": "Unauthorized"}` unless the request bears INTERNAL_API_KEY.

    Where there is no key, everything is refused. Use it with `Depends(internal_only())`.
    """

    async def check(request: Request) -> None:
        if is_internal(authorization(request.scope), key=key):
            return
        # FastAPI would answer {"detail": …}, and takes a dependency's answer in no other way.
        for handlers in request.scope.get(HANDLERS, ())[:1]:
            handlers.setdefault(Unauthorized, _answer)
        raise Unauthorized

    return check


async def _answer(request: Request, error: Exception) -> Response:
    return Response(
        UNAUTHORIZED, 401, {"WWW-Authenticate": "Bearer"}, media_type="application/json"
    )
