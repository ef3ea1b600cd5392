"""What `errands doctor` looks at. Each check gives one finding; a problem comes with its fix."""

import platform
import threading
from collections.abc import Iterator

import msgspec

from errands.cli.output import clock_time
from errands.clock import SystemClock
from errands.model.duration import format_ms
from errands.model.errors import ErrandsError
from errands.model.ids import EPOCH_MS, WorkerId
from errands.model.worker import Worker
from errands.settings import SECRET, VARIABLES, Settings
from errands.store.interface import Reader, Store, StoreUnavailable

WRITE_SECONDS = 3.0
"""How long a healthy store may let a writer wait for its turn, at the very most."""
WAL_BYTES_MAX = 256 * 1024 * 1024
FREE_BYTES_MIN = 512 * 1024 * 1024
READY_MS_MAX = 60_000
"""How long a run may stand ready before somebody should look."""
INBOX_MS_MAX = 10_000
CLOCK_MS_MAX = 5_000
"""How far another process may seem to be in the future."""


class Finding(msgspec.Struct, frozen=True):
    check: str
    ok: bool
    finding: str
    fix: str | None = None
    """The next move, of a problem."""


def examine_machine() -> Iterator[Finding]:
    yield Finding("python", True, f"Python {platform.python_version()}, {platform.machine()}")
    now = SystemClock().now()
    if now < EPOCH_MS:
        yield Finding(
            "clock",
            False,
            f"The clock says {clock_time(now)}; ids begin in 2024.",
            "Set the clock of this machine.",
        )


def examine_keys(settings: Settings) -> Iterator[Finding]:
    """Those that `errands serve` needs: all, or none where there is no such server."""
    missing = [VARIABLES[name] for name in SECRET if not getattr(settings, name)]
    if missing and len(missing) < len(SECRET):
        yield Finding(
            "keys",
            False,
            f"{' and '.join(missing)} {'is' if len(missing) == 1 else 'are'} not set; "
            "`errands serve` will not start without.",
            "`errands keys new` prints a set, and how to use it. (A client needs none of it but "
            "ERRANDS_API_TOKEN, or ERRANDS_EVENT_KEY to send.)",
        )
    else:
        said = "None are set: enough for `errands dev`, not for `errands serve`."
        yield Finding("keys", True, said if missing else "All that `errands serve` needs are set.")


def not_opened(error: ErrandsError) -> Finding:
    return Finding("store", False, str(error.args[0]), error.hint or None)


def examine_store(store: Store, settings: Settings) -> Iterator[Finding]:
    reader, now = store.reader, SystemClock().now()
    yield from _file(reader)
    yield from _writable(store)
    yield from _clock(reader, now)
    yield from _workers(store, settings, now)
    yield from _lanes(reader, now)
    yield from _inbox(reader, now)


# -- the file --------------------------------------------------------------------------------------


def _file(reader: Reader) -> Iterator[Finding]:
    facts = reader.facts()
    yield Finding("store", True, f"{facts.path}, {_size(facts.size_bytes)}, schema up to date")
    yield Finding("database", True, facts.engine)
    wal = f"The write-ahead log has {_size(facts.wal_bytes)}"
    yield Finding(
        "wal",
        facts.wal_bytes <= WAL_BYTES_MAX,
        f"{wal}.",
        None
        if facts.wal_bytes <= WAL_BYTES_MAX
        else "Somebody keeps a read transaction open, so that it cannot be folded back into the "
        "file: look for a SQLite shell or a backup on it, and end that.",
    )
    if facts.free_bytes is None:
        return
    is_roomy = facts.free_bytes >= FREE_BYTES_MIN
    yield Finding(
        "disk",
        is_roomy,
        f"{_size(facts.free_bytes)} are free.",
        None if is_roomy else "Make room: nothing is accepted once the disk is full.",
    )


def _size(size: int) -> str:
    for unit in ("B", "KiB", "MiB"):
        if size < 1024:
            return f"{size:.0f} {unit}"
        size //= 1024
    return f"{size:.0f} GiB"


def _writable(store: Store) -> Iterator[Finding]:
    """By taking a turn to write, and writing nothing."""
    trouble: list[BaseException] = []

    def take_a_turn() -> None:
        try:
            with store.transaction():
                pass
        except StoreUnavailable as error:
            trouble.append(error)

    # In a thread, because a turn may never come: waiting for a lock cannot be given up.
    turn = threading.Thread(target=take_a_turn, name="errands-turn", daemon=True)
    turn.start()
    turn.join(WRITE_SECONDS)
    if turn.is_alive():
        yield _stuck(store.reader.writer())
    elif trouble:
        yield Finding(
            "writing",
            False,
            f"The store cannot be written: {trouble[0]}.",
            "May this user write the file and its folder, and is there room on the disk?",
        )
    else:
        yield Finding("writing", True, "It can be written.")


def _stuck(pid: int | None) -> Finding:
    if pid is None:
        return Finding(
            "writing",
            False,
            f"Nobody could write for {WRITE_SECONDS:g} s: a program that is not errands holds the "
            "database's write lock.",
            "Look for a SQLite shell or a migration on the file (`fuser` names who has it open), "
            "and end its transaction.",
        )
    return Finding(
        "writing",
        False,
        f"Process {pid} has been inside its write transaction for more than {WRITE_SECONDS:g} s; "
        "nobody else can write.",
        f"If it is stopped, continue it: kill -CONT {pid}. Or end it: kill -KILL {pid}. What it "
        "had not committed is then undone, and done again by others.",
    )


def _clock(reader: Reader, now: int) -> Iterator[Finding]:
    latest = max((worker.beat_at for worker in reader.workers()), default=now)
    ahead = latest - now
    is_sane = ahead <= CLOCK_MS_MAX
    yield Finding(
        "clock",
        is_sane,
        "The clock agrees with the store's."
        if is_sane
        else f"Another process last wrote at {clock_time(latest)}, {format_ms(ahead)} from now.",
        None
        if is_sane
        else "The clock was set back, or another machine's is ahead: synchronise them (NTP). "
        "Timers wait for the time by which they were set.",
    )


# -- the workers -----------------------------------------------------------------------------------


def _workers(store: Store, settings: Settings, now: int) -> Iterator[Finding]:
    held = store.reader.held()
    living = 0
    for worker in store.reader.workers():
        is_dead = store.is_node_dead(worker.node)
        silent_ms = max(0, now - worker.beat_at)
        if is_dead and not held.get(worker.id) and not worker.concurrency:
            # It only sent, and went without a word. The next worker will strike it off.
            continue
        living += bool(worker.concurrency) and not is_dead
        yield _worker(worker, held, settings, silent_ms, is_dead=is_dead)
    if not living:
        yield Finding("workers", True, "No worker is running.")


def _worker(
    worker: Worker, held: dict[WorkerId, int], settings: Settings, silent_ms: int, *, is_dead: bool
) -> Finding:
    executes = (
        f"executes {held.get(worker.id, 0)} of {worker.concurrency} runs"
        if worker.concurrency
        else "only sends"
    )
    who = f"app {worker.app}, process {worker.pid} on {worker.host}, {executes}"
    if is_dead:
        return Finding(
            "worker",
            False,
            f"{who}: it has died, and nobody has taken over what it held.",
            "Start a worker of any app here: it does so at once.",
        )
    if silent_ms > settings.lease_ms:
        return Finding(
            "worker",
            False,
            f"{who}: silent for {format_ms(silent_ms)}.",
            f"Is it stopped, or its disk stuck? kill -CONT {worker.pid}, or kill -KILL "
            f"{worker.pid}; others take over what it held.",
        )
    return Finding("worker", True, f"{who}, last heard {format_ms(silent_ms)} ago")


def _lanes(reader: Reader, now: int) -> Iterator[Finding]:
    functions = reader.config().functions
    served = {worker.app for worker in reader.workers() if worker.concurrency}
    for lane in reader.ready():
        function = functions[lane.lane]  # type: ignore[index] # pyright: ignore[reportArgumentType]
        name = f"{function.app}/{function.config.slug}"
        waits = format_ms(max(0, now - lane.since))
        what = f"{lane.count:,} of {name} wait for a worker, the oldest for {waits}"
        if function.retired:
            fix = (
                f"App {function.app!r} has no {function.config.slug!r} any more: deploy it again, "
            )
            yield Finding("ready", False, f"{what}.", f"{fix}or cancel its runs.")
        elif function.app not in served:
            yield Finding(
                "ready",
                False,
                f"{what}, and no living worker serves it.",
                f"Start one: errands worker module:app, for app {function.app!r}.",
            )
        elif now - lane.since > READY_MS_MAX:
            yield Finding(
                "ready",
                False,
                f"{what}.",
                "The workers do not keep up: raise --concurrency, or see what their runs wait for.",
            )
        else:
            yield Finding("ready", True, f"{what}.")


def _inbox(reader: Reader, now: int) -> Iterator[Finding]:
    since = reader.inbox_since()
    if since is None:
        return
    waits = max(0, now - since)
    is_prompt = waits <= INBOX_MS_MAX
    yield Finding(
        "inbox",
        is_prompt,
        f"What is accepted but not yet decided waits for {format_ms(waits)}.",
        None if is_prompt else "Start a worker: any will do. If one runs, look into its log.",
    )
