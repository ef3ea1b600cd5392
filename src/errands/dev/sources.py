"""The app's source files: which there are, and whether they have changed."""

import os
from collections.abc import Iterator, Mapping
from pathlib import Path

FILES_MAX = 10_000
"""Of a larger tree the rest is not watched."""
NOT_OURS = ("__pycache__", "node_modules", "site-packages")

Snapshot = Mapping[str, tuple[int, int]]
"""Time of change (ns) and size, by path."""


def take_snapshot(folder: Path) -> Snapshot:
    """The Python files in this folder and below; not those of environments and hidden folders."""
    found: dict[str, tuple[int, int]] = {}
    for entry in _files(str(folder)):
        try:
            status = entry.stat()
        except OSError:  # it has just gone
            continue
        found[entry.path] = (status.st_mtime_ns, status.st_size)
        if len(found) >= FILES_MAX:
            break
    return found


def changed_file(before: Snapshot, after: Snapshot) -> str | None:
    """One that is new, has gone, or is different."""
    for path in {**before, **after}:
        if before.get(path) != after.get(path):
            return path
    return None


def _files(folder: str) -> Iterator[os.DirEntry[str]]:
    folders = [folder]
    while folders:
        try:
            entries = sorted(os.scandir(folders.pop()), key=lambda entry: entry.name)
        except OSError:
            continue
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                if _is_ours(entry):
                    folders.append(entry.path)
            elif entry.name.endswith(".py"):
                yield entry


def _is_ours(folder: os.DirEntry[str]) -> bool:
    if folder.name.startswith(".") or folder.name in NOT_OURS:
        return False
    return not os.path.exists(os.path.join(folder.path, "pyvenv.cfg"))
