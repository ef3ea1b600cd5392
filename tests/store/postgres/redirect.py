"""A pytest plugin (`-p tests.store.postgres.redirect`): stores are made on PostgreSQL instead.

Whatever a test opens at a path, it gets a database of its own for that path. So tests that were
written for a file run on both stores as they are, unless they look into the file themselves.
"""

from pathlib import Path

import errands.store.open
from errands.store.interface import Store
from errands.store.open import open_store
from tests.store.postgres.server import new_store_url, shared_server

_urls: dict[Path, str] = {}


def _open(path: Path, *, may_migrate: bool = True, is_durable: bool = True) -> Store:
    place = path.absolute()
    if place not in _urls or not place.exists():
        # Who removes the file gets a new store.
        place.parent.mkdir(parents=True, exist_ok=True)
        place.touch()
        _urls[place] = new_store_url()
    return open_store(_urls[place], migrate=may_migrate, is_durable=is_durable)


shared_server()
errands.store.open.SqliteStore = _open  # type: ignore[assignment,misc] # pyright: ignore
