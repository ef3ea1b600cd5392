"""A server: one process of a store behind HTTP, for clients of every language and for browsers.

It executes nothing itself; it accepts, tells, and looks after the store: timers, the inbox, what
dead workers held. Told by SIGTERM or SIGINT it accepts no more connections, ends the streams (their
clients go on at the next server), finishes the requests it has, commits, and leaves.
"""

import asyncio
import logging
import math
import os
import socket
from collections.abc import Callable, Generator
from contextlib import contextmanager

import uvicorn
from starlette.types import ASGIApp

from errands.api.app import make_api
from errands.api.draining import Draining
from errands.api.keys import Keys
from errands.executors.process import Process
from errands.listening import HOST, PORT, address, listen
from errands.model.call import Call, Journal, Session
from errands.model.errors import InvalidConfig
from errands.sdk.backend import DEFAULT_URL
from errands.settings import VARIABLES, Settings, settings_here
from errands.store.interface import Store
from errands.store.open import check_folder, open_store
from errands.worker import (
    FAILED,
    collect_rarely,
    configure_logging,
    count_of,
    loop_factory,
    signals,
)

log = logging.getLogger("errands.server")
KEEP_ALIVE_SECONDS = 75
"""Longer than clients keep an idle connection: so it is not closed just as they use it again."""


def run_server(*, store: str | None = None, host: str = HOST, port: int = PORT) -> int:
    """Serve until SIGTERM or SIGINT; gives the exit code. Call it in the main thread.

    store: URL; None: ERRANDS_URL, else the default file.   port: 0 takes any that is free.
    Raises InvalidConfig, StoreError, Unavailable.
    """
    settings = settings_here()
    keys = keys_of(settings)
    url = store or os.environ.get("ERRANDS_URL") or DEFAULT_URL
    if url != DEFAULT_URL:
        check_folder(url)
    configure_logging(settings)
    process = ServerProcess(lambda: open_store(url), settings)
    with listen(host, port) as listener:
        try:
            with asyncio.Runner(loop_factory=loop_factory()) as runner:
                runner.run(_serve(process, keys, listener, url))
        finally:
            process.close()
    log.info("stopped")
    return FAILED if process.is_broken else 0


def keys_of(settings: Settings) -> Keys:
    """The keys of a server. Raises InvalidConfig naming each that is missing."""
    needed = ("event_keys", "signing_key", "api_token")
    if missing := [VARIABLES[name] for name in needed if not getattr(settings, name)]:
        raise InvalidConfig(
            f"A server needs keys, and is missing {', '.join(missing)}.",
            hint="`errands keys new` prints a set, and how to use it. "
            "For development there is `errands dev`, without keys.",
        )
    return Keys(settings.event_keys, (settings.api_token,), settings.signing_key)


async def _serve(process: "ServerProcess", keys: Keys, listener: socket.socket, url: str) -> None:
    told, hurry = asyncio.Event(), asyncio.Event()
    process.on_broken = told.set
    with signals(asyncio.get_running_loop(), told, hurry):
        await process.connect()
        async with process.working(Nobody(), 0, lambda: frozenset()):
            collect_rarely()
            where = address(listener)
            log.info("serving %s, store %s, process %d", where, url, os.getpid())
            settings = process.settings
            api = make_api(process, keys, settings)
            await serve_http(api, listener, settings, told, hurry)


# -- HTTP ------------------------------------------------------------------------------------------


async def serve_http(
    app: ASGIApp,
    listener: socket.socket,
    settings: Settings,
    told: asyncio.Event,
    hurry: asyncio.Event,
) -> None:
    """Answer requests until `told`; then finish what has begun, unless `hurry`."""
    server = _Http(Draining(app), settings.grace_ms)
    serving = asyncio.ensure_future(server.serve([listener]))
    watching = asyncio.ensure_future(_stop(server, told, hurry))
    try:
        await serving
    finally:
        watching.cancel()


async def _stop(server: uvicorn.Server, told: asyncio.Event, hurry: asyncio.Event) -> None:
    await told.wait()
    requests = count_of(len(server.server_state.tasks), "request")
    log.info("stopping: %s may finish", requests)
    server.should_exit = True
    await hurry.wait()
    server.force_exit = True


class _Http(uvicorn.Server):
    """uvicorn, told to stop by us instead of by signals."""

    def __init__(self, app: "Draining", grace_ms: int) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                http="httptools",
                ws="none",
                lifespan="off",
                log_config=None,
                log_level="warning",
                access_log=False,
                proxy_headers=False,
                server_header=False,
                timeout_keep_alive=KEEP_ALIVE_SECONDS,
                timeout_graceful_shutdown=math.ceil(grace_ms / 1000),
            )
        )
        self._app = app

    @contextmanager
    def capture_signals(self) -> Generator[None]:
        yield

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        ending = asyncio.ensure_future(self._app.end())
        await super().shutdown(sockets)
        ending.cancel()


# -- the process -----------------------------------------------------------------------------------


class Nobody:
    """Executes nothing: a server leaves that to workers."""

    def begin(self, call: Call, journal: Journal) -> Session:
        raise AssertionError("a server claims nothing")


class ServerProcess(Process):
    """Knows no App; says when no more can be committed."""

    is_broken = False
    on_broken: Callable[[], None] = staticmethod(lambda: None)

    def __init__(self, opener: Callable[[], Store], settings: Settings) -> None:
        super().__init__(opener, "server", settings)

    def broke(self) -> None:
        super().broke()
        log.critical("this server cannot commit any more, and ends: see the error above")
        self.is_broken = True
        self.on_broken()
