"""`errands migrate`: the only command, but for a worker, that makes a store."""

import sqlite3
from collections.abc import Callable
from pathlib import Path

from tests.cli.conftest import Answer

Errands = Callable[..., Answer]


def test_migrate_makes_the_store(errands: Errands, tmp_path: Path) -> None:
    path = tmp_path / "errands.db"
    assert errands("migrate").json == {"store": str(path), "made": True, "migrated": True}
    assert path.is_file()


def test_migrating_twice_is_harmless(errands: Errands) -> None:
    errands("migrate")
    answer = errands("migrate")
    assert (answer.code, answer.json["made"], answer.json["migrated"]) == (0, False, False)


def test_check_is_content_with_a_store_that_is_up_to_date(errands: Errands) -> None:
    errands("migrate")
    assert errands("migrate", "--check").code == 0


def test_check_names_what_is_lacking_and_changes_nothing(errands: Errands, tmp_path: Path) -> None:
    old = tmp_path / "old.db"
    sqlite3.connect(old).execute("PRAGMA user_version = 1").connection.close()
    url = f"sqlite:///{old}"

    for _ in range(2):
        answer = errands("migrate", "--check", "--store", url)
        assert answer.code == 1
        assert "0001_create_everything" in answer.err
        assert "errands migrate" in answer.err


def test_an_old_store_is_not_read_but_the_way_out_is_told(errands: Errands, tmp_path: Path) -> None:
    old = tmp_path / "old.db"
    sqlite3.connect(old).execute("PRAGMA user_version = 1").connection.close()
    url = f"sqlite:///{old}"

    answer = errands("runs", "list", "--store", url)
    assert (answer.code, answer.err.count("Run `errands migrate` once.")) == (1, 1)

    assert errands("migrate", "--store", url).json["migrated"] is True
    assert errands("runs", "list", "--store", url).json == []


def test_store_goes_before_the_environment(errands: Errands, tmp_path: Path) -> None:
    errands("migrate", "--store", f"sqlite:///{tmp_path}/given.db")
    assert (tmp_path / "given.db").exists()
    assert not (tmp_path / "errands.db").exists()


def test_without_a_word_the_store_is_in_the_current_folder(
    errands: Errands, tmp_path: Path
) -> None:
    errands("migrate", ERRANDS_URL="")
    assert (tmp_path / ".errands" / "errands.db").exists()
