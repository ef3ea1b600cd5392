"""A PostgreSQL server that the tests start for themselves, from the binaries of the system."""

import atexit
import contextlib
import ctypes
import functools
import itertools
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psycopg

from errands.store.postgres.connection import address

PLACES = ("/usr/lib/postgresql", "/usr/pgsql-*", "/opt/homebrew/opt/postgresql*")
START_SECONDS = 30
_numbers = itertools.count(1)


def binaries() -> Path | None:
    """Where initdb is; None if there is no PostgreSQL on this machine."""
    found = [path.parent for path in Path("/usr/lib/postgresql").glob("*/bin/initdb")]
    if (on_path := shutil.which("initdb")) is not None:
        found.append(Path(on_path).parent)
    return found[0] if found else None


def _die_with_parent() -> None:
    """In the child: Linux ends it when the thread ends that has started it, however it does."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(1, signal.SIGQUIT)


def _unprivileged() -> dict[str, Any]:
    """PostgreSQL refuses to be run by root."""
    if os.geteuid() != 0:
        return {}
    who = pwd.getpwnam("nobody")
    return {"user": who.pw_uid, "group": who.pw_gid, "extra_groups": []}


class Server:
    """In a folder of its own, reached by a socket there. is_durable: commits reach the disk."""

    def __init__(self, *, is_durable: bool = False, settings: tuple[str, ...] = ()) -> None:
        bin = binaries()
        assert bin is not None
        self._bin = bin
        self.folder = Path(tempfile.mkdtemp(prefix="errands-pg-"))
        self._user = _unprivileged()
        if self._user:
            os.chown(self.folder, self._user["user"], self._user["group"])
        fast = ("fsync=off", "full_page_writes=off", "synchronous_commit=off")
        self._settings = (*(() if is_durable else fast), *settings)
        self.data = self.folder / "data"
        command = [bin / "initdb", "-N", "-A", "trust", "-U", "postgres", "--no-locale"]
        command += ["-E", "UTF8", "-D", self.data]
        subprocess.run(command, check=True, capture_output=True, cwd=self.folder, **self._user)
        self.process: subprocess.Popen[Any] | None = None
        self.start()

    def start(self) -> None:
        command = [str(self._bin / "postgres"), "-D", str(self.data), "-k", str(self.folder)]
        for setting in ("listen_addresses=", "max_connections=200", *self._settings):
            command += ["-c", setting]
        with (self.folder / "log").open("ab") as told:
            self.process = subprocess.Popen(
                command, cwd=self.folder, stdout=told, stderr=told, stdin=subprocess.DEVNULL,
                preexec_fn=_die_with_parent, **self._user,
            )  # fmt: skip
        deadline = time.monotonic() + START_SECONDS
        while True:
            try:
                self.connect().close()
                return
            except psycopg.OperationalError:
                assert self._is_running(), (self.folder / "log").read_text()
                assert time.monotonic() < deadline, (self.folder / "log").read_text()
                time.sleep(0.02)

    def _is_running(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """SIGINT: at once, in order. SIGQUIT: as if it had crashed."""
        if self.process is not None:
            self.process.send_signal(how)
            self.process.wait()
            self.process = None

    def remove(self) -> None:
        self.stop(signal.SIGQUIT)
        shutil.rmtree(self.folder, ignore_errors=True)

    def connect(self, database: str = "postgres") -> psycopg.Connection[Any]:
        return psycopg.connect(
            host=str(self.folder), user="postgres", dbname=database, autocommit=True
        )

    def url(self, database: str, **parameters: str) -> str:
        asked = "".join(f"&{name}={quote(value)}" for name, value in parameters.items())
        return f"postgresql://postgres@/{database}?host={quote(str(self.folder), safe='')}{asked}"

    def new_database(self) -> str:
        """The name of an empty one."""
        name = f"errands_{os.getpid()}_{next(_numbers)}"
        with self.connect() as db:
            db.execute(f"CREATE DATABASE {name} STRATEGY wal_log".encode())
        return name

    def drop_database(self, name: str) -> None:
        with self.connect() as db:
            db.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)".encode())

    @contextlib.contextmanager
    def closed(self, database: str) -> Iterator[None]:
        """Nobody gets into this database meanwhile, and those who are in it are thrown out."""
        with self.connect() as db:
            db.execute(f"ALTER DATABASE {database} ALLOW_CONNECTIONS false".encode())
            self.throw_out(database)
            yield
            db.execute(f"ALTER DATABASE {database} ALLOW_CONNECTIONS true".encode())

    def throw_out(self, database: str) -> None:
        asked = "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = %s"
        with self.connect() as db:
            db.execute(asked, (database,))


SHARED = "shared"


@functools.cache
def shared_server() -> Server:
    """One for all tests of this process. First called in a thread that lasts: see above."""
    server = Server()
    atexit.register(server.remove)
    with server.connect() as db:
        db.execute(f"CREATE DATABASE {SHARED}".encode())
    return server


def new_store_url() -> str:
    """A schema that nobody else uses, in a database that all tests of this process share."""
    return shared_server().url(SHARED, schema=f"test_{next(_numbers)}")


def drop_store(url: str) -> None:
    with connect(url) as db:
        db.execute(f"DROP SCHEMA IF EXISTS {address(url).schema} CASCADE".encode())


def connect(url: str) -> psycopg.Connection[Any]:
    """To the database of a store."""
    return psycopg.connect(address(url).conninfo, autocommit=True)
