"""What the store holds when all processes have ended, read with plain SQL."""

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, NamedTuple


class Row(NamedTuple):
    id: int
    function: str
    n: Any
    """The argument or the event's field of that name."""
    status: int | None
    output: Any


@contextmanager
def opened(path: Path) -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(path, timeout=30)) as db:
        yield db


def runs(path: Path) -> list[Row]:
    with opened(path) as db:
        found = db.execute(
            "SELECT run.id, function.slug, event.data, run.input, done.status, done.output "
            "FROM run JOIN function ON function.id = run.function "
            "LEFT JOIN event ON event.id = run.event LEFT JOIN done ON done.run = run.id "
            "ORDER BY run.id"
        ).fetchall()
    rows: list[Row] = []
    for id, slug, event, input, status, output in found:
        given = json.loads(event or input or b"{}")
        n = given.get("n") if isinstance(given, dict) else None
        rows.append(Row(id, slug, n, status, None if output is None else json.loads(output)))
    return rows


def unfinished(path: Path) -> int:
    """Runs that have no outcome."""
    with opened(path) as db:
        text = "SELECT count(*) FROM run WHERE id NOT IN (SELECT run FROM done)"
        return int(db.execute(text).fetchone()[0])


def steps(path: Path) -> dict[tuple[int, str], int]:
    """When each step's result was committed (Unix ms), by run and step id."""
    with opened(path) as db:
        return {(run, id): at for run, id, at in db.execute("SELECT run, id, at FROM step")}


def count(path: Path, table: str) -> int:
    with opened(path) as db:
        return int(db.execute(f"SELECT count(*) FROM {table}").fetchone()[0])


def history(path: Path, moment: int) -> int:
    """How often this moment was recorded (model.run.Moment)."""
    with opened(path) as db:
        text = "SELECT count(*) FROM history WHERE moment = ?"
        return int(db.execute(text, (moment,)).fetchone()[0])


def is_sound(path: Path) -> bool:
    with opened(path) as db:
        return db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
