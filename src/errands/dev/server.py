"""The development server: HTTP and the App's worker in one process, open to this machine alone."""

import asyncio
import logging
import os
import socket
import sys
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import ExitStack, asynccontextmanager
from importlib.metadata import version
from typing import TypeAlias

import msgspec
from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp

from errands.api.app import make_api
from errands.api.keys import OPEN
from errands.dev.guard import Guard
from errands.dev.lines import Ended, Lines
from errands.dev.options import DevOptions
from errands.dev.words import style
from errands.executors.committer import Committer
from errands.listening import address, listen
from errands.model.errors import ErrandsError, InvalidConfig
from errands.model.ids import public_id
from errands.model.run import Done, RunStatus
from errands.sdk.app import App
from errands.sdk.backend import DEFAULT_URL
from errands.server import Nobody, ServerProcess, serve_http
from errands.settings import Settings
from errands.store.interface import Store
from errands.store.open import check_folder, open_store, sqlite_path
from errands.worker import (
    BAD_INPUT,
    FAILED,
    Reporting,
    collect_rarely,
    configure_logging,
    count_of,
    follow_parent,
    leave,
    load_app,
    loop_factory,
    name_of,
    signals,
    took_ms,
)

LOCAL_PAGES = r"https?://(localhost|127\.0\.0\.1|\[::1\])(:\d+)?"
"""Such as those of a front end's own development server."""
GRACE_MS_MAX = 2_000
"""Who develops does not want to wait: what executes longer is given back, and goes on after."""


class DevProcess(Reporting):
    """Knows and executes the App; tells which runs end."""

    def __init__(
        self, opener: Callable[[], Store], app: App, settings: Settings, lines: Lines
    ) -> None:
        super().__init__(opener, app, settings)
        self._lines = lines

    def ended(self, committer: Committer, several: Sequence[Done]) -> None:
        self._lines.add(
            [
                Ended(
                    public_id(done.run, self.key),
                    name_of(committer, done),
                    RunStatus(done.status),
                    done.at,
                    took_ms(done),
                    done.output,
                )
                for done in several
            ]
        )


AnyProcess: TypeAlias = DevProcess | ServerProcess


def run_dev(options: DevOptions, listener: socket.socket) -> int:
    """Until SIGTERM or SIGINT; gives the exit code. Raises InvalidConfig, StoreError."""
    configure_logging(options.settings)
    logging.getLogger("errands").setLevel(logging.WARNING)
    app = _load(options)
    url = _store_url(options, app)
    grace = min(options.settings.grace_ms, GRACE_MS_MAX)
    settings = msgspec.structs.replace(options.settings, grace_ms=grace)
    with ExitStack() as stack:
        process: AnyProcess
        if app is None:
            process = ServerProcess(lambda: open_store(url), settings)
        else:
            lines = stack.enter_context(Lines())
            process = DevProcess(lambda: open_store(url), app, settings, lines)
            stack.enter_context(app.use_backend(process))
        stack.callback(process.close)
        runner = stack.enter_context(asyncio.Runner(loop_factory=loop_factory()))
        runner.run(_live(options, process, listener, url))
    return FAILED if process.is_broken else 0


def _load(options: DevOptions) -> App | None:
    """The App. When it was there before, a mistake in its files is told, and the server goes on
    without it: what is sent meanwhile is kept.
    """
    if options.target is None:
        return None
    try:
        return load_app(options.target)
    except InvalidConfig as error:
        if not options.is_again:
            raise
        print(style(f"Error: {error}", "red"), flush=True)
        print("Nothing is executed until that is mended.", flush=True)
        return None


def _store_url(options: DevOptions, app: App | None) -> str:
    """A server among those who are asked is left aside: this is one itself."""
    of_environment = os.environ.get("ERRANDS_URL", "")
    for url in (options.store, app.url if app else None, of_environment):
        if url and not url.startswith(("http://", "https://")):
            check_folder(url)
            return url
    return DEFAULT_URL


async def _live(
    options: DevOptions, process: AnyProcess, listener: socket.socket, url: str
) -> None:
    told, hurry = asyncio.Event(), asyncio.Event()
    process.on_broken = told.set
    settings = process.settings
    with signals(asyncio.get_running_loop(), told, hurry):
        async with _working(process):
            collect_rarely()
            _greet(options, process, address(listener), url)
            api: ASGIApp = make_api(process, OPEN, settings)
            if not options.is_open:
                api = Guard(api, settings.cors_origins)
            # Outside the guard: a page asks beforehand whether it may ask.
            api = CORSMiddleware(
                api,
                allow_origins=settings.cors_origins,
                allow_origin_regex=LOCAL_PAGES,
                allow_methods=["*"],
                allow_headers=["*"],
                expose_headers=["Retry-After"],
            )
            await serve_http(api, listener, settings, told, hurry)


@asynccontextmanager
async def _working(process: AnyProcess) -> AsyncGenerator[None]:
    if isinstance(process, DevProcess):
        async with process.worker(process.settings.concurrency):
            yield
    else:
        await process.connect()
        async with process.working(Nobody(), 0, lambda: frozenset()):
            yield


# -- the greeting ----------------------------------------------------------------------------------


def _greet(options: DevOptions, process: AnyProcess, where: str, url: str) -> None:
    """Four lines; after a change one."""
    app = process.app if isinstance(process, DevProcess) else None
    if options.is_again:
        if app is not None:
            print(style(f"{count_of(len(app.definitions), 'function')}, ready", "dim"), flush=True)
        return
    who = "for everybody who reaches it" if options.is_open else "for this machine only"
    what = (
        "no App, so nothing is executed: errands dev module:app"
        if app is None
        else f"app {app.id} ({options.target}), {count_of(len(app.definitions), 'function')}"
    )
    rows = [
        (f"errands {version('errands')}", what),
        ("API", f"{where}/api, no keys, {who}"),
        ("Store", os.path.relpath(sqlite_path(url))),
        ("Send", f"{_example(app)}    Ctrl-C stops"),
    ]
    width = len(rows[0][0])
    for title, text in rows:
        print(f"{style(f'{title:>{width}}', 'bold')}  {text}")
    print(end="", flush=True)


def _example(app: App | None) -> str:
    """What would start a function of this app."""
    for definition in app.definitions.values() if app else ():
        for trigger in definition.config.triggers:
            if app is not None and "*" not in trigger.event:
                fields = getattr(app.events.get(trigger.event), "__annotations__", {})
                return " ".join(["errands send", trigger.event, *(f"{one}=…" for one in fields)])
    return "errands send hello name=Ada"


# -- the process that the supervisor starts --------------------------------------------------------


def run_here(options: DevOptions) -> int:
    """Without a supervisor. Raises InvalidConfig, StoreError."""
    with listen(options.host, options.port) as listener:
        return run_dev(options, listener)


def _child(parent: int, listener: int, options: DevOptions) -> int:
    _life = follow_parent(parent)
    os.set_inheritable(listener, False)
    try:
        return run_dev(options, socket.socket(fileno=listener))
    except ErrandsError as error:
        if os.environ.get("ERRANDS_DEBUG"):
            raise
        print(f"Error: {error}", file=sys.stderr)
        return BAD_INPUT if isinstance(error, InvalidConfig) else FAILED


if __name__ == "__main__":
    leave(
        _child(
            int(sys.argv[1]), int(sys.argv[2]), msgspec.json.decode(sys.argv[3], type=DevOptions)
        )
    )
