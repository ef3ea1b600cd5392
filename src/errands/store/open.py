"""The store behind a URL."""

import os
from pathlib import Path

from errands.model.errors import InvalidConfig
from errands.store.interface import Store
from errands.store.sqlite.store import SqliteStore


def sqlite_path(url: str) -> Path:
    """`sqlite:///relative.db` and `sqlite:////absolute.db`, as SQLAlchemy has them. Raises
    InvalidConfig.
    """
    scheme, _, rest = url.partition("://")
    if scheme != "sqlite" or not rest.startswith("/") or len(rest) < 2:
        raise InvalidConfig(
            f"{url!r} is not the URL of a store.",
            hint="Write sqlite:///errands.db for a file beside you, "
            "sqlite:////var/lib/errands.db for an absolute path, postgresql://user@host/database "
            "for PostgreSQL.",
        )
    return Path(rest[1:])


def place(url: str) -> str:
    """Where a store is, for people: an absolute path, or a URL without password and parameters.
    Raises InvalidConfig.
    """
    if not is_postgres(url):
        return str(sqlite_path(url).absolute())
    scheme, _, rest = url.partition("?")[0].partition("://")
    user, at, host = rest.rpartition("@")
    return f"{scheme}://{user.partition(':')[0]}{at}{host}"


def check_folder(url: str) -> None:
    """Whether a store can be made there: a folder that is missing may be a slip. Raises
    InvalidConfig.
    """
    if is_postgres(url):
        return
    folder = sqlite_path(url).absolute().parent
    if not folder.is_dir():
        raise InvalidConfig(
            f"There is no folder {folder} for the store.",
            hint=f"Make it (mkdir -p {folder}), or say another place: --store sqlite:///path, or "
            "ERRANDS_URL.",
        )


def open_store(url: str, *, migrate: bool = True, is_durable: bool = True) -> Store:
    """Open it, creating or migrating it first if need be. Raises InvalidConfig, MigrationNeeded,
    StoreError.

    is_durable: False, for tests, survives the end of its process, but not of its machine.
    """
    if is_postgres(url):
        return _open_postgres(url, migrate, is_durable)
    return SqliteStore(sqlite_path(url), may_migrate=migrate, is_durable=is_durable)


def is_postgres(url: str) -> bool:
    return url.startswith(("postgresql://", "postgres://"))


def _open_postgres(url: str, migrate: bool, is_durable: bool) -> Store:
    # Its driver is not everybody's.
    try:
        from errands.store.postgres.connection import address
        from errands.store.postgres.store import PostgresStore
    except ImportError as error:
        if not (error.name or "").startswith("psycopg"):
            raise
        raise InvalidConfig(
            "PostgreSQL needs a driver, which is not installed.",
            hint="pip install 'errands[postgres]'",
        ) from error
    found = address(url, os.environ.get("ERRANDS_SCHEMA"))
    return PostgresStore(found, may_migrate=migrate, is_durable=is_durable)
