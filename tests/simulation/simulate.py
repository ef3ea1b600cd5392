"""One simulation: a seed, a history, a verdict."""

import random
import shutil
import sqlite3
import tempfile
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from errands.store.sqlite.store import SqliteStore
from tests.simulation import faults
from tests.simulation.audit import Audit, check_indexes
from tests.simulation.book import Book
from tests.simulation.doors import Doors
from tests.simulation.knobs import turned
from tests.simulation.process import Process
from tests.simulation.store import forget_turnstile
from tests.simulation.traffic import Traffic
from tests.simulation.workload import app
from tests.simulation.world import World

KEY = b"an installation's secret, fixed."
REST_SECONDS = 120.0
"""Virtual time after the last fault by which everything must have ended."""


class Verdict(msgspec.Struct):
    seed: int
    violations: list[str]
    digest: str
    """Of everything that happened, in order."""
    seconds: float
    """Virtual."""
    commits: int
    runs: int


class Simulation:
    def __init__(self, seed: int, path: Path, trace: Callable[[str], None] | None) -> None:
        self.world = World(seed, path, trace)
        self.book = Book(self.world, KEY)
        self.doors = Doors(self.world, self.book)
        self.busy_seconds = self.world.random.choice((2.0, 8.0, 20.0))
        self.observer = sqlite3.connect(path, isolation_level=None)
        self.traffic = Traffic(self)
        self.book.check_indexes = lambda: check_indexes(self.observer)
        for name in ("worker-a", "worker-b", "web"):
            self._start(name)
        faults.plan(self)

    def _start(self, name: str) -> None:
        concurrency = 0 if name == "web" else self.world.random.choice((1, 3, 50))
        process = Process(self.world, self.book, app, name, concurrency)
        process.when_crashed = lambda: self._restart(process)
        self.world.processes = [p for p in self.world.processes if p.is_alive] + [process]
        process.start(self.traffic.run if name == "web" else None)

    def _restart(self, process: Process) -> None:
        delay = self.world.random.choice((0.0, 0.1, 1.0, 5.0)) * self.world.random.random()
        name = process.name
        self.world.after(delay, lambda: self._start(name))

    def run(self) -> None:
        world = self.world
        world.run(lambda: self.traffic.left == 0, self.busy_seconds * 4 + 60)
        world.run(lambda: False, world.time + world.random.random() * 3)
        world.is_faulty = False
        world.note("faults end")
        if not world.run(self._is_at_rest, world.time + REST_SECONDS) and not world.violations:
            world.violate(f"not at rest after {REST_SECONDS} s")
        world.run(lambda: False, world.time + 3)
        if not world.violations or "not at rest" in world.violations[0]:
            for wrong in check_indexes(self.observer):
                world.violate(wrong)
            Audit(self).run()

    def _is_at_rest(self) -> bool:
        if self.book.items or not all(p.is_well for p in self.world.processes):
            return False
        return self.observer.execute("SELECT 1 FROM inbox LIMIT 1").fetchone() is None

    def close(self) -> None:
        for process in self.world.processes:
            process.clean_up()
        self.observer.close()


def simulate(seed: int, trace: Callable[[str], None] | None = None) -> Verdict:
    """Run one history. The same seed gives the same, everywhere."""
    with _database() as path, turned(random.Random(f"knobs {seed}")):
        simulation = Simulation(seed, path, trace)
        try:
            simulation.run()
        except BaseException as error:
            error.add_note(f"simulation: seed {seed}")
            raise
        finally:
            simulation.close()
        world, book = simulation.world, simulation.book
        return Verdict(
            seed, world.violations, world.digest, world.time, book.commits, len(book.done)
        )


_template: bytes | None = None


@contextmanager
def _database() -> Generator[Path]:
    """A migrated, empty store; in memory where the system has a place for that."""
    global _template
    shared = Path("/dev/shm")
    folder = Path(tempfile.mkdtemp(prefix="errands-", dir=shared if shared.is_dir() else None))
    path = folder / "errands.db"
    try:
        if _template is None:
            _template = _make_template(folder / "template.db")
        path.write_bytes(_template)
        yield path
        forget_turnstile(path)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _make_template(path: Path) -> bytes:
    SqliteStore(path, is_durable=False).close()
    forget_turnstile(path)
    db = sqlite3.connect(path, isolation_level=None)
    db.execute("UPDATE meta SET value = ? WHERE name = 'key'", (KEY,))
    db.close()
    return path.read_bytes()
