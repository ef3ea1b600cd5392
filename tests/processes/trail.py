"""What processes did, in one file: each line appended by one write, so that kill -9 tears none."""

import os
import time
from pathlib import Path
from typing import NamedTuple


class Line(NamedTuple):
    at: float
    """Unix milliseconds."""
    pid: int
    words: tuple[str, ...]


def leave(*words: object) -> None:
    """Append a line to the file that ERRANDS_TRAIL names."""
    line = " ".join([str(time.time_ns()), str(os.getpid()), *map(str, words)])
    file = os.open(os.environ["ERRANDS_TRAIL"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        os.write(file, line.encode() + b"\n")
    finally:
        os.close(file)


def read(path: Path, first: str = "") -> list[Line]:
    """All lines, or those with this first word."""
    found: list[Line] = []
    for text in path.read_text().splitlines() if path.exists() else ():
        at, pid, *words = text.split(" ")
        if first in ("", words[0]):
            found.append(Line(int(at) / 1e6, int(pid), tuple(words)))
    return found
