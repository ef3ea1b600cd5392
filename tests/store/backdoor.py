"""What a test does to a store behind its back: looks at all of it, plants an error, shuts it."""

import resource
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from errands.store.interface import Store, StoreUnavailable

UNSEEN = ("mark",)
"""Tables that each transaction leaves a row in."""


def _connect(url: str) -> Any:
    from tests.store.postgres.server import connect

    return connect(url)


def _schema(url: str) -> str:
    from errands.store.postgres.connection import address

    return address(url).schema


def is_sqlite(url: str) -> bool:
    return url.startswith("sqlite:")


def path_of(url: str) -> Path:
    return Path(url.removeprefix("sqlite:///"))


def content(url: str) -> dict[str, list[Any]]:
    """All that is kept, as somebody else sees it."""
    if is_sqlite(url):
        db = sqlite3.connect(path_of(url))
        asked, prefix = "SELECT name FROM sqlite_master WHERE type='table'", ""
    else:
        db = _connect(url)
        asked = f"SELECT tablename FROM pg_tables WHERE schemaname = '{_schema(url)}'"
        prefix = f"{_schema(url)}."
    try:
        names = sorted(name for (name,) in db.execute(asked) if name not in UNSEEN)
        return {n: sorted(db.execute(f"SELECT * FROM {prefix}{n}"), key=repr) for n in names}
    finally:
        db.close()


def plant(url: str, *statements: str) -> None:
    """Execute these. Tables are called as they are in SQLite: on PostgreSQL, in the schema."""
    if is_sqlite(url):
        db = sqlite3.connect(path_of(url), isolation_level=None)
    else:
        db = _connect(url)
        db.execute(f"SET search_path = {_schema(url)}, public")
    for statement in statements:
        db.execute(statement)
    db.close()


def make_schema(url: str) -> None:
    """Where somebody else's tables may be before errands comes."""
    if not is_sqlite(url):
        plant(url, f"CREATE SCHEMA {_schema(url)}")


def plant_error(url: str, table: str, event: str) -> None:
    """Each INSERT or UPDATE of this table fails from now on."""
    if is_sqlite(url):
        body = "BEGIN SELECT RAISE(ABORT, 'planted'); END"
        plant(url, f"CREATE TRIGGER planted AFTER {event} ON {table} {body}")
        return
    plant(
        url,
        "CREATE OR REPLACE FUNCTION planted() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN RAISE EXCEPTION 'planted'; END $$",
        f"CREATE TRIGGER planted AFTER {event} ON {table} EXECUTE FUNCTION planted()",
    )


def pull_error(url: str, table: str) -> None:
    plant(url, "DROP TRIGGER planted" if is_sqlite(url) else f"DROP TRIGGER planted ON {table}")


def columns_of(url: str, table: str) -> list[str]:
    if is_sqlite(url):
        db = sqlite3.connect(path_of(url))
        found = [row[1] for row in db.execute(f"PRAGMA table_info({table})")]
        db.close()
        return found
    with _connect(url) as opened:
        asked = f"SELECT * FROM {_schema(url)}.{table}"
        return [column.name for column in opened.execute(asked).description or ()]


@contextmanager
def unwritable(url: str) -> Iterator[None]:
    """A full disk, made by the limit that the operating system sets to this process's files; or a
    server that throws everybody out.
    """
    if not is_sqlite(url):
        from tests.store.postgres.server import SHARED, shared_server

        with shared_server().closed(SHARED):
            yield
        return
    with full_disk():
        yield


@contextmanager
def full_disk() -> Iterator[None]:
    """For this process alone."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def back(store: Store) -> None:
    """Until it can be written again: who could not connect waits a moment before the next try."""
    deadline = time.monotonic() + 30
    while True:
        try:
            with store.transaction():
                store.reader.counts()
                return
        except StoreUnavailable:
            assert time.monotonic() < deadline
            time.sleep(0.01)
