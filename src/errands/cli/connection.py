"""The store that a command speaks of. Nothing but `migrate` and workers ever makes one."""

import os
from collections.abc import Generator
from contextlib import closing, contextmanager

from errands.embedded import Embedded
from errands.model.errors import InvalidConfig
from errands.sdk.app import App
from errands.sdk.backend import DEFAULT_URL
from errands.settings import settings_from
from errands.store.interface import Reader, Store
from errands.store.open import open_store, sqlite_path


def store_url(given: str | None) -> str:
    """--store, else ERRANDS_URL, else the default file."""
    return given or os.environ.get("ERRANDS_URL") or DEFAULT_URL


def check_exists(url: str) -> None:
    """Raises InvalidConfig."""
    path = sqlite_path(url)
    if not path.is_file():
        raise InvalidConfig(
            f"There is no store at {path.absolute()}.",
            hint="Say where it is: --store sqlite:///path, or ERRANDS_URL. "
            "A worker makes it when it starts, and `errands migrate` does.",
        )


def open_existing(url: str) -> Store:
    """Raises InvalidConfig, MigrationNeeded, StoreError."""
    check_exists(url)
    return open_store(url, migrate=False)


@contextmanager
def reading(given: str | None) -> Generator[Reader]:
    with closing(open_existing(store_url(given))) as store:
        yield store.reader


@contextmanager
def deciding(given: str | None) -> Generator[Embedded]:
    """A process among the others that executes nothing, but can put something before the engine."""
    url = store_url(given)
    check_exists(url)
    backend = Embedded(lambda: open_existing(url), App("cli"), settings_from())
    try:
        yield backend
    finally:
        backend.close()
