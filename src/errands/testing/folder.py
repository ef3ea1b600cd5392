"""Where harnesses keep their stores: in memory if the machine has a folder for that.

A process has one folder for each harness that is open at the same time, and uses it again for the
next: the lock file beside a database stays open for the life of a process, so a new path for every
test would use up its file descriptors.
"""

import atexit
import os
import shutil
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

MEMORY = "/dev/shm"
_free: list[tuple[int, Path]] = []


@contextmanager
def store_path() -> Generator[Path]:
    """A path for a new database, which is removed afterwards."""
    pid = os.getpid()
    folder = next((path for owner, path in _free if owner == pid and path.is_dir()), None)
    if folder is None:
        folder = _make(pid)
    else:
        _free.remove((pid, folder))
    path = folder / "errands.db"
    try:
        yield path
    finally:
        for end in ("", "-wal", "-shm"):
            path.with_name(path.name + end).unlink(missing_ok=True)
        _free.append((pid, folder))


def _make(pid: int) -> Path:
    place = MEMORY if os.access(MEMORY, os.W_OK) else None
    folder = Path(tempfile.mkdtemp(prefix="errands-test-", dir=place))

    def remove() -> None:
        if os.getpid() == pid:  # a fork must not take its parent's away
            shutil.rmtree(folder, ignore_errors=True)

    atexit.register(remove)
    return folder
