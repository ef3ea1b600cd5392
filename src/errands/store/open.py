"""The store behind a URL."""

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
            "sqlite:////var/lib/errands.db for an absolute path.",
        )
    return Path(rest[1:])


def check_folder(url: str) -> None:
    """Whether a store can be made there: a folder that is missing may be a slip. Raises
    InvalidConfig.
    """
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
    return SqliteStore(sqlite_path(url), may_migrate=migrate, is_durable=is_durable)
