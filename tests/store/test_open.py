"""Opening a store: made once, however many come at once; what does not fit is refused."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from errands.model.errors import MigrationNeeded, StoreError
from errands.model.event import Event
from errands.model.item import Item
from errands.model.run import Done, LogLine, Progress, Record, Run
from errands.model.step import Step, Wait
from errands.model.timer import Timer
from errands.store.interface import Store
from errands.store.open import open_store
from tests.store.backdoor import columns_of, content, is_sqlite, make_schema, plant
from tests.store.stores import new_url

TABLES = {
    "event": Event, "run": Run, "done": Done, "item": Item, "step": Step, "wait": Wait,
    "timer": Timer, "history": Record, "log": LogLine, "progress": Progress,
}  # fmt: skip
OPENS = """
import sys
from errands.store.open import open_store
sys.stdin.readline()
store = open_store(sys.argv[1])
print(store.reader.key().hex())
"""


@pytest.mark.parametrize("table", TABLES)
def test_a_new_store_has_the_columns_of_the_model(store: Store, url: str, table: str) -> None:
    assert columns_of(url, table) == [field.name for field in msgspec.structs.fields(TABLES[table])]


def test_opening_again_changes_nothing(
    store: Store, open_again: Callable[[], Store], url: str
) -> None:
    before = content(url)

    again = open_again()

    assert content(url) == before
    assert again.reader.key() == store.reader.key()
    assert len(before["migration"]) >= 1


def test_two_stores_have_two_keys(store: Store, url: str, tmp_path: Path) -> None:
    with new_url("sqlite" if is_sqlite(url) else "postgres", tmp_path / "other") as second:
        other = open_store(second)

        assert other.reader.key() != store.reader.key()
        other.close()


def test_many_processes_that_come_first_make_one_store(url: str) -> None:
    comers = [
        subprocess.Popen(
            [sys.executable, "-c", OPENS, url],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(6)
    ]
    # All of them stand ready before the first may go.
    for comer in comers:
        assert comer.stdin is not None
        comer.stdin.write("go\n")
        comer.stdin.flush()
    keys = [comer.communicate()[0] for comer in comers]

    assert [comer.returncode for comer in comers] == [0] * 6
    assert len(set(keys)) == 1
    assert len(keys[0]) == 65


def test_a_migration_that_was_applied_with_another_text_is_refused(store: Store, url: str) -> None:
    plant(url, "UPDATE migration SET checksum = 'other' WHERE number = 1")

    with pytest.raises(StoreError, match="0001_create_everything was applied with another text"):
        open_store(url)


def test_a_newer_store_is_refused(store: Store, url: str) -> None:
    plant(url, "INSERT INTO migration(number, name, checksum) VALUES (99, 'x', 'x')")

    with pytest.raises(StoreError, match="migration 99") as refused:
        open_store(url)

    assert "newer" in str(refused.value)


def test_who_may_not_migrate_is_told_what_is_missing(url: str) -> None:
    with pytest.raises(MigrationNeeded, match="0001_create_everything") as refused:
        open_store(url, migrate=False)

    assert "errands migrate" in refused.value.hint
    assert content(url) == {}


def test_who_may_not_migrate_opens_what_needs_none(store: Store, url: str) -> None:
    other = open_store(url, migrate=False)

    assert other.reader.key() == store.reader.key()
    other.close()


def test_a_database_with_tables_of_the_same_names_is_refused_and_left_alone(url: str) -> None:
    make_schema(url)
    plant(url, "CREATE TABLE event(mine TEXT)")

    with pytest.raises(StoreError, match="event") as refused:
        open_store(url)

    assert "its own" in refused.value.hint
    assert content(url) == {"event": [], "migration": []}


def test_a_database_of_somebody_else_may_hold_a_store_too(url: str) -> None:
    make_schema(url)
    plant(url, "CREATE TABLE customer(name TEXT)")

    store = open_store(url)

    assert store.reader.counts()["run"] == 0
    assert content(url)["customer"] == []
    store.close()
