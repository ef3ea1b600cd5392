"""Which errors of SQLite pass by themselves, and which are about the batch."""

import sqlite3
from pathlib import Path

import pytest

from errands.engine.transition import LogsKept
from errands.model.ids import RunId
from errands.model.run import LogLine
from errands.store.interface import Store, StoreConflict, StoreUnavailable
from tests.store.batch import write
from tests.store.process import NOW

LOGGED = LogsKept((LogLine(RunId(5), 1, NOW, None, 0, 20, "hello"),))


def test_what_will_not_pass_by_itself_is_no_matter_of_waiting(store: Store) -> None:
    db = sqlite3.connect(Path(store.reader.facts().path))
    db.execute("DROP TABLE log")
    db.close()

    with pytest.raises(StoreConflict, match="no such table"):
        write(store, LOGGED)


@pytest.mark.parametrize("code", [sqlite3.SQLITE_BUSY, sqlite3.SQLITE_IOERR_FSYNC])
def test_what_may_pass_is_waited_for(store: Store, code: int) -> None:
    error = sqlite3.OperationalError("not now")
    error.sqlite_errorcode = code

    with pytest.raises(StoreUnavailable, match="not now"), store.transaction():
        raise error
