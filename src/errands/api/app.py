"""The API as one ASGI application, over one process of a store."""

import logging
import time
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import unquote, urlsplit

import msgspec
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route
from starlette.types import Receive, Scope, Send

from errands.api import openapi
from errands.api.endpoint import (
    Access,
    Answer,
    Ask,
    Endpoint,
    decode_body,
    read_body,
    read_query,
)
from errands.api.keys import Keys
from errands.api.problems import Refusal, answer, of_error
from errands.api.routes import apps, events, functions, health, jobs, runs
from errands.api.stream import open_streams
from errands.executors.process import Process
from errands.model.errors import ErrandsError
from errands.settings import Settings
from errands.telemetry import counted

log = logging.getLogger("errands.api")
SAFE = ("GET", "HEAD", "OPTIONS")
CORS_HEADERS = ("authorization", "content-type", "last-event-id", "traceparent")
LOOPBACK = ("localhost", "127.0.0.1", "::1")
EVENTS = "/e/"
SLASH = b"%00"
"""Stands for a slash within a segment of a path: an id may have one, and none has a NUL."""


async def _document(ask: Ask) -> Response:
    return Response(_openapi(), media_type="application/json")


ENDPOINTS: Sequence[Endpoint] = (
    *jobs.ENDPOINTS,
    *events.ENDPOINTS,
    *runs.ENDPOINTS,
    *functions.ENDPOINTS,
    *apps.ENDPOINTS,
    *health.ENDPOINTS,
    Endpoint(
        "GET",
        "/api/openapi.json",
        _document,
        "This document.",
        {200: Answer("OpenAPI 3.1.", dict[str, Any])},
        access=Access.PUBLIC,
    ),
)
"""In this order: `/api/events/stream` is no event's id."""


def make_api(
    process: Process, keys: Keys, settings: Settings, *, more: Sequence[BaseRoute] = ()
) -> Starlette:
    """`process` is connected when the first request comes. more: routes beside the API's own."""
    counted(process).open_streams = open_streams
    paths: dict[str, list[Endpoint]] = {}
    for endpoint in ENDPOINTS:
        paths.setdefault(endpoint.path, []).append(endpoint)
    at = {path: _Path(path, of, process, keys, settings) for path, of in paths.items()}
    around = _middleware(settings)
    app = _Api(routes=[*(Route(path, one) for path, one in at.items()), *more], middleware=around)
    app.fast = None if around else at[EVENTS + "{key}"]
    # A path is one or it is none: `/api/runs/` is no other name of `/api/runs`.
    app.router.redirect_slashes = False
    app.add_exception_handler(HTTPException, _http_error)
    return app


def _middleware(settings: Settings) -> list[Middleware]:
    if not settings.cors_origins:
        return []
    return [
        Middleware(
            CORSMiddleware,
            allow_origins=settings.cors_origins,
            allow_methods=("GET", "POST", "PUT", "PATCH"),
            allow_headers=CORS_HEADERS,
            expose_headers=("Retry-After",),
        )
    ]


class _Api(Starlette):
    fast: "_Path | None" = None
    """What takes events, which come in their thousands: past the routes and all around them."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            path: str = scope["path"]
            if self.fast is not None and path.startswith(EVENTS) and not scope.get("root_path"):
                key = path[len(EVENTS) :]
                if key and "/" not in key:
                    scope["path_params"] = {"key": key}
                    await self.fast(scope, receive, send)
                    return
            # Decoded, an id with a slash would be two segments.
            raw: bytes = scope.get("raw_path") or b""
            if b"%2f" in raw or b"%2F" in raw:
                marked = raw.replace(b"%2f", SLASH).replace(b"%2F", SLASH)
                scope = {**scope, "path": unquote(marked.decode("latin-1"))}
        await super().__call__(scope, receive, send)


class _Path:
    """All that is done at one path, behind what all endpoints have in common."""

    def __init__(
        self,
        path: str,
        endpoints: Sequence[Endpoint],
        process: Process,
        keys: Keys,
        settings: Settings,
    ) -> None:
        self.path, self.process, self.keys, self.settings = path, process, keys, settings
        self.counted = counted(process)
        self.by_method: dict[str, tuple[Endpoint, msgspec.json.Decoder[Any] | None]] = {}
        for endpoint in endpoints:
            reads = endpoint.body is not None and endpoint.reads_body
            decoder = msgspec.json.Decoder(endpoint.body) if reads else None
            self.by_method[endpoint.method] = endpoint, decoder
            if endpoint.method == "GET" and endpoint.has_head:
                self.by_method["HEAD"] = endpoint, decoder

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        begun_at = time.perf_counter()
        try:
            response = await self._answer(scope, receive)
        except Refusal as refusal:
            response = answer(refusal)
        except ErrandsError as error:
            response = answer(of_error(error))
            if response.status_code == 500:
                log.error("%s %s failed", scope["method"], self.path, exc_info=error)
        except Exception:
            log.exception("%s %s failed", scope["method"], self.path)
            response = answer(_bug())
        seconds = time.perf_counter() - begun_at
        self.counted.request(scope["method"], self.path, response.status_code, seconds)
        await response(scope, receive, send)

    async def _answer(self, scope: Scope, receive: Receive) -> Response:
        found = self.by_method.get(scope["method"])
        if found is None:
            return self._other_method(scope["method"])
        endpoint, decoder = found
        process = self.process
        ask = Ask(scope, receive, process, self.keys, self.settings)
        self._check(endpoint, ask)
        if endpoint.query is not None:
            ask.query = read_query(ask.request, endpoint.query)
        if decoder is not None:
            data = await read_body(scope, receive, endpoint.body_limit)
            ask.body = decode_body(
                b"{}" if endpoint.is_body_optional and not data else data, decoder
            )
        if not process.is_connected and endpoint.access is not Access.PUBLIC:
            # Not yet; or others took it for dead, because the machine slept.
            await process.connect()
        return await endpoint.handler(ask)

    def _check(self, endpoint: Endpoint, ask: Ask) -> None:
        """Raises Refusal."""
        if self.keys.is_open:
            if endpoint.method not in SAFE:
                _check_origin(ask, self.settings.cors_origins)
        elif endpoint.access is Access.TOKEN:
            self.keys.check_token(ask.header(b"authorization"))
        elif endpoint.access is Access.EVENT_KEY:
            self.keys.check_event_key(ask.path("key"))

    def _other_method(self, method: str) -> Response:
        allowed = ", ".join((*self.by_method, "OPTIONS"))
        if method == "OPTIONS":
            return Response(status_code=204, headers={"Allow": allowed})
        detail = f"{self.path} takes {allowed}, not {method[:20]}."
        headers = {"Allow": allowed}
        return answer(Refusal(405, "method_not_allowed", detail, headers=headers))


def _check_origin(ask: Ask, allowed: Sequence[str]) -> None:
    """Without keys, any web page that the user opens could act here in the user's name.

    Raises Refusal.
    """
    origin = ask.header(b"origin")
    if not origin or origin in allowed or "*" in allowed:
        return
    try:
        parts = urlsplit(origin)
        is_ours = parts.netloc == ask.header(b"host") or parts.hostname in LOOPBACK
    except ValueError:
        is_ours = False
    if not is_ours:
        raise Refusal(
            403,
            "foreign_origin",
            f"A web page of {origin[:100]} may change nothing here.",
            hint="If it is yours, name its origin in ERRANDS_CORS_ORIGINS.",
        )


def _bug() -> Refusal:
    return Refusal(500, "internal_error", "This is a bug in errands; its log has the traceback.")


async def _http_error(request: Request, error: Exception) -> Response:
    """What the router refuses: a path that there is not."""
    assert isinstance(error, HTTPException)
    # Not with the path, which may have a key in it.
    detail = "There is nothing at this path."
    code, headers = "no_such_path", error.headers
    hint = "/api/openapi.json lists what there is."
    return answer(Refusal(error.status_code, code, detail, hint=hint, headers=headers))


_made: dict[str, bytes] = {}


def _openapi() -> bytes:
    """Made when it is first asked for."""
    if "document" not in _made:
        _made["document"] = msgspec.json.encode(document())
    return _made["document"]


def document() -> Mapping[str, Any]:
    """The OpenAPI document of all endpoints."""
    return openapi.document(ENDPOINTS)
