"""New stores, of each kind that there is."""

import functools
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

STORES = ("sqlite", "postgres")


@functools.cache
def missing() -> str | None:
    """Why no PostgreSQL can be tested here."""
    try:
        import psycopg  # noqa: F401
    except ImportError:
        return "psycopg is not installed"
    from tests.store.postgres.server import binaries

    return None if binaries() else "no PostgreSQL binaries on this machine (initdb, postgres)"


@contextmanager
def new_url(kind: str, folder: Path) -> Iterator[str]:
    """Where a store may be made that nobody else uses."""
    if kind == "sqlite":
        yield f"sqlite:///{folder}/errands.db"
        return
    if (why := missing()) is not None:
        pytest.skip(why)
    from tests.store.postgres.server import drop_store, new_store_url

    url = new_store_url()
    yield url
    drop_store(url)
