"""A worker process: the user's App, executing until it is told to stop. Or several of them.

Told by SIGTERM or SIGINT it claims nothing new, lets what executes go on for the grace, gives the
rest back for others, and ends with 0. Told a second time it does not wait.
"""

import asyncio
import gc
import importlib
import logging
import os
import signal
import socket
import sys
import threading
import time
import traceback
from collections.abc import Callable, Coroutine, Generator, Sequence
from contextlib import contextmanager, suppress
from types import ModuleType
from typing import Any

import msgspec

from errands.embedded import Embedded
from errands.executors.committer import Committer, Effects
from errands.model.duration import Duration, format_ms
from errands.model.errors import ErrandsError, InvalidConfig
from errands.model.ids import public_id
from errands.model.run import Done, RunStatus
from errands.sdk.app import App
from errands.sdk.backend import DEFAULT_URL
from errands.settings import Settings, secrets_of, settings_here, without_secrets
from errands.store.cycle import Entry
from errands.store.open import check_folder, open_store
from errands.telemetry import log_lines

log = logging.getLogger("errands.worker")
HURRY_SECONDS = 5.0
"""How long a second signal leaves to give back what still executes; then the process just ends."""
BAD_INPUT, FAILED = 2, 1
RESTART_SECONDS = (0.5, 1.0, 2.0, 5.0, 10.0, 30.0)
"""Before a child is started again: longer each time it dies soon after its start."""
HEALTHY_SECONDS = 60.0
"""A child that lived so long has its earlier deaths forgotten."""
READY = b"ready\n"


class Options(msgspec.Struct, frozen=True):
    """What one worker process is told; as JSON for a child."""

    target: str
    """module:attribute of the App."""
    store: str | None
    """URL; None: the App's own, else ERRANDS_URL, else the default file."""
    settings: Settings
    is_verbose: bool = False
    """Log each run that ends."""


def run_worker(
    target: str,
    *,
    store: str | None = None,
    processes: int = 1,
    concurrency: int | None = None,
    grace: Duration | None = None,
    is_verbose: bool = False,
) -> int:
    """Execute the App at `target` ("module:app") until SIGTERM or SIGINT; gives the exit code.

    Call it in the main thread. None: as the settings say.   concurrency: of each process.
    Raises InvalidConfig, StoreError.
    """
    settings = settings_here(concurrency=concurrency, grace_ms=grace)
    # A child is told on its command line, which everybody on the machine can read.
    options = Options(target, store, without_secrets(settings), is_verbose)
    check_target(target)
    if store is not None:
        check_folder(store)
    configure_logging(settings, is_verbose=is_verbose)
    if _positive(processes, "processes") > 1:
        log.warning(
            "One worker process is the fastest on SQLite: several take turns to write. "
            "Use %d if your functions need more than one processor.",
            processes,
        )
        return asyncio.run(Supervisor(options, processes).run())
    return work(options)


def _positive(number: int, name: str) -> int:
    if number < 1:
        raise InvalidConfig(f"{name} = {number} is too small.", hint="The least is 1.")
    return number


def configure_logging(settings: Settings, *, is_verbose: bool = False) -> None:
    """Lines on stderr, unless the App has set up logging of its own."""
    log_lines.configure_logging(settings.log_format, secrets=secrets_of(settings))
    log.setLevel(logging.DEBUG if is_verbose else logging.INFO)


# -- the App ---------------------------------------------------------------------------------------


def check_target(target: str) -> tuple[str, str]:
    module, _, attribute = target.partition(":")
    if not all(part.isidentifier() for part in [*module.split("."), *attribute.split(".")]):
        raise InvalidConfig(
            f"{target!r} does not say where the App is.",
            hint='Write module:attribute, for example "shop:app" for `app` in shop.py.',
        )
    return module, attribute


def load_app(target: str) -> App:
    """The App at "module:attribute", looked for in the current folder too. Raises InvalidConfig."""
    name, attribute = check_target(target)
    if "" not in sys.path and os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    found: Any = _import(name)
    for part in attribute.split("."):
        if not hasattr(found, part):
            raise InvalidConfig(f"Module {name!r} has no {attribute!r}.", hint=_apps_in(name))
        found = getattr(found, part)
    if not isinstance(found, App):
        raise InvalidConfig(
            f"{target} is no App; its type is {type(found).__name__}.",
            hint="Name the object that was made with App(…).",
        )
    return found


def _apps_in(module: str) -> str:
    names: dict[str, object] = vars(sys.modules[module])
    for name, value in names.items():
        if isinstance(value, App):
            return f"It has {module}:{name}."
    return "Which name does it give to its App(…)?"


def _import(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ErrandsError:
        raise
    except ModuleNotFoundError as error:
        if error.name is not None and (name == error.name or name.startswith(f"{error.name}.")):
            raise InvalidConfig(
                f"There is no module {error.name!r}.",
                hint=f"Looked in {os.getcwd()} and where Python finds packages. Start the worker "
                "in the folder from which you would import it.",
            ) from error
        raise _import_failed(name, error) from error
    except (Exception, SystemExit) as error:
        raise _import_failed(name, error) from error


def _import_failed(name: str, error: BaseException) -> InvalidConfig:
    frames = traceback.extract_tb(error.__traceback__)
    last = next((f for f in reversed(frames) if not f.filename.startswith("<")), None)
    at = f" at {last.filename}:{last.lineno}" if last is not None else ""
    if isinstance(error, SyntaxError):
        at = f" at {error.filename}:{error.lineno}"
        error = SyntaxError(error.msg)
    return InvalidConfig(
        f"Importing {name!r} failed: {type(error).__name__}: {error}{at}.",
        hint="ERRANDS_DEBUG=1 shows the traceback.",
    )


# -- one process -----------------------------------------------------------------------------------


def work(options: Options, ready: Callable[[], None] = lambda: None) -> int:
    """Execute in this process, until a signal."""
    app = load_app(options.target)
    collect_rarely()
    url = options.store or app.url or os.environ.get("ERRANDS_URL") or DEFAULT_URL
    if url != DEFAULT_URL:
        check_folder(url)
    backend = Reporting(lambda: open_store(url), app, options.settings)
    try:
        with app.use_backend(backend), asyncio.Runner(loop_factory=loop_factory()) as runner:
            runner.run(_work(app, backend, url, options, ready))
    finally:
        backend.close()
    log.info("stopped")
    return FAILED if backend.is_broken else 0


def collect_rarely() -> None:
    """Fit the garbage collector to a process that makes many small objects and frees them itself.

    With its usual thresholds a third of a busy worker's time goes into looking for cycles.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 50, 100)


def loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    try:
        import uvloop
    except ImportError:
        return None
    return uvloop.new_event_loop


async def _work(
    app: App, backend: "Reporting", url: str, options: Options, ready: Callable[[], None]
) -> None:
    told = asyncio.Event()
    backend.on_broken = told.set
    hurry = asyncio.Event()
    with signals(asyncio.get_running_loop(), told, hurry):
        async with app.worker(concurrency=options.settings.concurrency):
            log.info(
                "app %s: %s, store %s, concurrency %d, process %d",
                app.id,
                count_of(len(app.definitions), "function"),
                url,
                options.settings.concurrency,
                os.getpid(),
                extra={"app": app.id, "store": url},
            )
            ready()
            await told.wait()
            executing = len(backend.executing)
            log.info(
                "stopping: %s",
                f"{count_of(executing, 'run')} may go on for {format_ms(options.settings.grace_ms)}"
                if executing
                else "nothing executes",
            )
            giving_up = asyncio.create_task(_give_back(backend, hurry))
        giving_up.cancel()


async def _give_back(backend: "Reporting", hurry: asyncio.Event) -> None:
    """At the second signal: do not wait for what executes."""
    await hurry.wait()
    log.info("stopping at once: %s given back", count_of(len(backend.executing), "run"))
    if backend.dispatcher is not None:
        await backend.dispatcher.runner.release_all("its worker was told to stop at once")


def count_of(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


@contextmanager
def signals(
    loop: asyncio.AbstractEventLoop, told: asyncio.Event, hurry: asyncio.Event
) -> Generator[None]:
    """The first signal sets `told`, the next `hurry`; and soon ends the process in any case."""
    count = 0

    def on_signal(number: int, frame: object) -> None:
        # Not the loop's own handlers: those wait for user code that blocks the loop.
        nonlocal count
        count += 1
        loop.call_soon_threadsafe((told if count == 1 else hurry).set)
        if count == 2:
            end = threading.Timer(HURRY_SECONDS, os._exit, (FAILED,))
            end.daemon = True
            end.start()

    before = {
        number: signal.signal(number, on_signal) for number in (signal.SIGTERM, signal.SIGINT)
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class Reporting(Embedded):
    """Says which runs have ended, at log level DEBUG; and when no more can be committed."""

    is_broken = False
    on_broken: Callable[[], None] = staticmethod(lambda: None)

    def broke(self) -> None:
        super().broke()
        log.critical("this worker cannot commit any more, and ends: see the error above")
        self.is_broken = True
        self.on_broken()

    @property
    def executing(self) -> list[Any]:
        return [] if self.dispatcher is None else self.dispatcher.runner.executing

    def deliver(self, committer: Committer, entries: list[Entry], effects: Effects | None) -> None:
        super().deliver(committer, entries, effects)
        if effects is not None and effects.done:
            self.ended(committer, effects.done)

    def ended(self, committer: Committer, several: Sequence[Done]) -> None:
        """In the committer's thread."""
        if not log.isEnabledFor(logging.DEBUG):
            return
        for done in several:
            run, name = public_id(done.run, self.key), name_of(committer, done)
            word, took = RunStatus(done.status).name.lower(), took_ms(done)
            log.debug(
                "run %s of %s %s after %s",
                run,
                name,
                word,
                format_ms(took),
                extra={"run": run, "function": name, "status": word, "took_ms": took},
            )


def name_of(committer: Committer, done: Done) -> str:
    """app/function"""
    function = committer.config.functions[done.function]
    return f"{function.app}/{function.config.slug}"


def took_ms(done: Done) -> int:
    return done.at - (done.started_at or done.at)


# -- several processes -----------------------------------------------------------------------------


class Supervisor:
    """Keeps so many children working; passes signals on; ends when they have ended.

    Each child shares a socket with its parent. The child says on it that it works; either side
    learns from its end that the other is gone, even by kill -9.
    """

    def __init__(self, options: Options, processes: int) -> None:
        self._options, self._processes = options, processes
        self._children: dict[int, asyncio.subprocess.Process] = {}
        self._is_stopping = asyncio.Event()
        self._first_works = asyncio.Event()
        self._exit_code = 0

    async def run(self) -> int:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop)
        await asyncio.gather(self._keep(), self._keep_others())
        return self._exit_code

    async def _keep_others(self) -> None:
        """From when the first one works: a mistake in the App is told once."""
        await _first(self._first_works.wait(), self._is_stopping.wait())
        await asyncio.gather(*(self._keep() for _ in range(self._processes - 1)))

    def _stop(self) -> None:
        self._is_stopping.set()
        for child in self._children.values():
            with suppress(ProcessLookupError):
                child.terminate()

    async def _keep(self) -> None:
        """One child after the other in the same place."""
        deaths = 0
        while not self._is_stopping.is_set():
            started_at = time.monotonic()
            code = await self._live()
            if self._is_stopping.is_set():
                self._exit_code = max(self._exit_code, abs(code))
                return
            if code == BAD_INPUT:
                self._exit_code = BAD_INPUT
                self._stop()
                return
            if time.monotonic() - started_at > HEALTHY_SECONDS:
                deaths = 0
            delay = RESTART_SECONDS[min(deaths, len(RESTART_SECONDS) - 1)]
            deaths += 1
            log.warning("a worker process has ended (%s); again in %.1f s", _ended(code), delay)
            await _first(self._is_stopping.wait(), asyncio.sleep(delay))

    async def _live(self) -> int:
        """One child, from its start to its end; gives its exit code."""
        ours, theirs = socket.socketpair()
        with ours:
            with theirs:
                # A process group of its own: Ctrl-C reaches it through its parent, once.
                child = await asyncio.create_subprocess_exec(
                    sys.executable,
                    "-m",
                    "errands.worker",
                    str(theirs.fileno()),
                    msgspec.json.encode(self._options).decode(),
                    stdin=asyncio.subprocess.DEVNULL,
                    pass_fds=(theirs.fileno(),),
                    process_group=0,
                )
            self._children[child.pid] = child
            if self._is_stopping.is_set():
                child.terminate()
            ours.setblocking(False)
            loop = asyncio.get_running_loop()
            if await loop.sock_recv(ours, len(READY)):
                self._first_works.set()
            code = await child.wait()
            del self._children[child.pid]
            return code


async def _first(*several: Coroutine[Any, Any, object]) -> None:
    """Wait for one of them."""
    tasks = [asyncio.ensure_future(one) for one in several]
    await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in tasks:
        task.cancel()


def _ended(code: int) -> str:
    return f"exit code {code}" if code >= 0 else f"signal {signal.Signals(-code).name}"


def follow_parent(descriptor: int) -> socket.socket:
    """In a child: end when the parent does, even by kill -9. Gives the socket shared with it."""
    parent = socket.socket(fileno=descriptor)
    os.set_inheritable(descriptor, False)

    def stop_with_parent() -> None:
        # It never says anything. An error is its end as well: it left without reading ours.
        with suppress(OSError):
            parent.recv(1)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=stop_with_parent, name="errands-parent", daemon=True).start()
    return parent


def _child(descriptor: int, options: Options) -> int:
    parent = follow_parent(descriptor)

    def say_ready() -> None:
        with suppress(OSError):
            parent.sendall(READY)

    configure_logging(settings_here(), is_verbose=options.is_verbose)
    try:
        return work(options, say_ready)
    except ErrandsError as error:
        if os.environ.get("ERRANDS_DEBUG"):
            raise
        print(f"Error: {error}", file=sys.stderr)
        return BAD_INPUT if isinstance(error, InvalidConfig) else FAILED


def leave(code: int) -> None:
    """End the process, also if threads of abandoned functions still run."""
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    leave(_child(int(sys.argv[1]), msgspec.json.decode(sys.argv[2], type=Options)))
