"""Connections to the server: made alike, and not too eagerly where it cannot be reached."""

import contextlib
import random
import threading
import time
from collections.abc import Generator
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, quote, urlencode, urlsplit, urlunsplit

import psycopg
from psycopg import RawCursor
from psycopg.conninfo import conninfo_to_dict

from errands.model.errors import InvalidConfig
from errands.store.interface import StoreUnavailable
from errands.store.postgres.arrays import adapt
from errands.store.postgres.errors import translated

SCHEMES = ("postgresql", "postgres")
SCHEMA = "errands"
CONNECT_SECONDS = 5
IDLE_SECONDS = 10
"""A process that stands still in the middle of a batch loses its locks after this."""
PAUSE_SECONDS, PAUSE_SECONDS_MAX = 0.05, 2.0
"""How long it is at least, and at most, before the next attempt to connect: by chance within that,
so that not all processes come at one moment.
"""
NOTICES_SOON = {
    "keepalives_idle": "5",
    "keepalives_interval": "3",
    "keepalives_count": "3",
    "tcp_user_timeout": "15000",
}
"""That the server's machine has gone without a word."""
PLANS = " -c enable_seqscan=off -c enable_hashjoin=off -c enable_mergejoin=off"
"""Each statement of a batch finds its rows by an index. Tables that are empty one moment and large
the next have no statistics that a plan could be made of.
"""


class Address(NamedTuple):
    """Where a store is."""

    conninfo: str
    """For libpq, which takes hosts, passwords, `sslmode`, `passfile` and the like from it."""
    schema: str
    prepares: bool
    """Statements are prepared once and used again. Not through poolers that cannot do that."""
    shown: str
    """For people: without the password."""


def address(url: str, schema: str | None = None) -> Address:
    """Of `postgresql://user@host/database?schema=errands`. Raises InvalidConfig."""
    parts = urlsplit(url)
    if parts.scheme not in SCHEMES:
        raise InvalidConfig(f"{url!r} is not the URL of a PostgreSQL database.")
    given = parse_qsl(parts.query, keep_blank_values=True)
    own = {key: value for key, value in given if key in ("schema", "prepare")}
    rest = [(key, value) for key, value in given if key not in own]
    found = own.get("schema") or schema or SCHEMA
    if "\0" in found or len(found.encode()) > 63:
        raise InvalidConfig(f"Schema {found!r} is refused.", hint="At most 63 bytes.")
    if own.get("prepare", "yes") not in ("yes", "no"):
        raise InvalidConfig("prepare is yes or no.", hint="?prepare=no behind some poolers.")
    conninfo = urlunsplit(parts._replace(query=urlencode(rest, quote_via=quote)))
    return Address(conninfo, found, own.get("prepare", "yes") == "yes", _shown(url))


def _shown(url: str) -> str:
    parts = urlsplit(url)
    user, is_any, host = parts.netloc.rpartition("@")
    name = user.partition(":")[0]
    return urlunsplit(parts._replace(netloc=f"{name}{is_any}{host}", query=""))


class Connector:
    """Connects; after it could not, for a moment it does not even try. Any thread may call it."""

    def __init__(self, address: Address, *, is_durable: bool = True) -> None:
        self.address = address
        self._is_durable = is_durable
        self._lock = threading.Lock()
        self._failures = 0
        self._next_at = 0.0
        self._why = ""

    def connect(self, *, is_writer: bool = False) -> psycopg.Connection[Any]:
        """In autocommit: transactions are begun and ended by hand. Raises StoreUnavailable."""
        if time.monotonic() < self._next_at:
            raise StoreUnavailable(self._why)
        # Nothing here takes so long that compiling it first would pay.
        options = "-c default_transaction_isolation=read\\ committed -c jit=off"
        if is_writer:
            options += f" -c idle_in_transaction_session_timeout={IDLE_SECONDS}s" + PLANS
        if not self._is_durable:
            options += " -c synchronous_commit=off"
        given: dict[str, Any] = dict(conninfo_to_dict(self.address.conninfo))
        given.setdefault("connect_timeout", str(CONNECT_SECONDS))
        given.setdefault("application_name", "errands")
        for name, value in NOTICES_SOON.items():
            given.setdefault(name, value)
        if said := given.pop("options", None):
            options = f"{options} {said}"
        try:
            db = psycopg.connect(
                **given,
                options=options,
                autocommit=True,
                prepare_threshold=2 if self.address.prepares else None,
                cursor_factory=RawCursor,
            )
        except psycopg.Error as error:
            raise self._failed(translated(error)) from error
        with self._lock:
            self._failures, self._next_at = 0, 0.0
        adapt(db)
        return db

    def _failed(self, error: Exception) -> StoreUnavailable:
        with self._lock:
            longest = min(PAUSE_SECONDS * 2**self._failures, PAUSE_SECONDS_MAX)
            self._failures = min(self._failures + 1, 16)
            self._next_at = time.monotonic() + random.uniform(longest / 2, longest)
            self._why = str(error)
        return StoreUnavailable(self._why)


class Pool:
    """Connections for reading, each by one thread at a time; the one used last is used next."""

    def __init__(self, connector: Connector, size: int) -> None:
        self._connector = connector
        self._free: list[psycopg.Connection[Any]] = []
        self._places = threading.Semaphore(size)
        self._is_closed = False

    @contextlib.contextmanager
    def connection(self) -> Generator[psycopg.Connection[Any]]:
        """Raises StoreUnavailable where there is none to be had."""
        with self._places:
            db = self._free.pop() if self._free else self._connector.connect()
            try:
                yield db
            finally:
                # What has failed in any way is not used again.
                if db.closed or db.broken:
                    db.close()
                else:
                    self._free.append(db)
                if self._is_closed:
                    self.drop()

    def drop(self) -> None:
        """Those at hand were made to a server that has gone since."""
        while self._free:
            self._free.pop().close()

    def close(self) -> None:
        self._is_closed = True
        self.drop()
