"""Connections to the file, set up alike; and the file itself checked."""

import sqlite3
from pathlib import Path

from errands.model.errors import StoreError

NETWORK_FILE_SYSTEMS = (
    "nfs",
    "cifs",
    "smb",
    "9p",
    "afs",
    "ceph",
    "gluster",
    "lustre",
    "fuse.sshfs",
)
OLDEST_SQLITE = (3, 35, 0)
BUSY_SECONDS = 30
"""How long another writer is waited for, who holds no turnstile: a tool, a backup."""


def connect(path: Path, *, is_durable: bool = True, cache_kib: int = 2_048) -> sqlite3.Connection:
    """A connection whose transactions are begun and ended by hand. Raises StoreError."""
    if sqlite3.sqlite_version_info < OLDEST_SQLITE:
        raise StoreError(
            f"This Python has SQLite {sqlite3.sqlite_version}; errands needs 3.35 or newer.",
            hint="Use a newer Python, or a newer SQLite library.",
        )
    try:
        db = sqlite3.connect(
            path,
            timeout=BUSY_SECONDS,
            isolation_level=None,
            check_same_thread=False,
            cached_statements=512,
        )
        db.execute("PRAGMA journal_mode = WAL").fetchone()
        # FULL: a commit is on disk before anybody is answered.
        db.execute(f"PRAGMA synchronous = {'FULL' if is_durable else 'OFF'}")
        # Larger, and a checkpoint stalls a commit for longer than people notice.
        db.execute("PRAGMA wal_autocheckpoint = 4000")
        db.execute(f"PRAGMA cache_size = -{cache_kib}")
        db.execute("PRAGMA temp_store = MEMORY")
    except sqlite3.DatabaseError as error:
        raise StoreError(
            f"{path} cannot be used as a store: {error}.",
            hint="Is it a SQLite file, and may this user write it and its folder?",
        ) from error
    return db


def check_folder(path: Path) -> None:
    """Make the folder if need be. Raises StoreError for network file systems, whose locks cannot be
    trusted.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StoreError(
            f"The folder {path.parent} cannot be made: {error.strerror}.",
            hint="Choose another path for the store: ERRANDS_URL=sqlite:///…",
        ) from error
    kind = _file_system(path.parent.resolve())
    if kind.startswith(NETWORK_FILE_SYSTEMS):
        raise StoreError(
            f"{path.parent} is on a network file system ({kind}); its locks do not protect SQLite.",
            hint="Put the store on a local disk.",
        )


def _file_system(folder: Path) -> str:
    try:
        mounts = Path("/proc/mounts").read_text().splitlines()
    except OSError:
        return ""
    best, kind = "", ""
    for line in mounts:
        _, point, this, *_ = line.split(" ")
        point = point.replace("\\040", " ")
        if folder.is_relative_to(point) and len(point) >= len(best):
            best, kind = point, this
    return kind
