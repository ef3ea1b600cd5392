"""Hints between processes: a byte in a socket beside the database."""

import os
import select
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from errands.store.interface import Ear, Topic
from errands.store.sqlite.wake import QUIET_SECONDS, Bells

Opener = Callable[[Path], Bells]


@pytest.fixture
def database(tmp_path: Path) -> Path:
    return tmp_path / "e.db"


@pytest.fixture
def open_bells() -> Iterator[Opener]:
    opened: list[Bells] = []

    def open(path: Path) -> Bells:
        opened.append(Bells(path))
        return opened[-1]

    yield open
    for bells in opened:
        bells.close()


def _is_heard(ear: Ear) -> bool:
    return bool(select.select([ear], [], [], 0)[0])


def test_a_ring_is_heard_by_others(open_bells: Opener, database: Path) -> None:
    ear = open_bells(database).listen(Topic.WORK)
    assert ear is not None

    open_bells(database).ring(Topic.WORK)

    assert _is_heard(ear)
    ear.drain()
    assert not _is_heard(ear)
    ear.close()


def test_a_ring_is_not_heard_by_who_listens_for_something_else(
    open_bells: Opener, database: Path
) -> None:
    ear = open_bells(database).listen(Topic.NEWS)
    assert ear is not None

    open_bells(database).ring(Topic.WORK)

    assert not _is_heard(ear)
    ear.close()


def test_a_process_does_not_hear_itself(open_bells: Opener, database: Path) -> None:
    bells = open_bells(database)
    ear = bells.listen(Topic.WORK)
    assert ear is not None

    bells.ring(Topic.WORK)

    assert not _is_heard(ear)
    ear.close()


def test_who_does_not_listen_any_more_holds_nobody_up(open_bells: Opener, database: Path) -> None:
    ear = open_bells(database).listen(Topic.WORK)
    assert ear is not None

    bells = open_bells(database)
    for _ in range(100):
        bells.ring(Topic.WORK)
        time.sleep(QUIET_SECONDS)

    assert _is_heard(ear)
    ear.close()


def test_the_socket_of_a_dead_process_is_removed(open_bells: Opener, database: Path) -> None:
    bells = open_bells(database)
    path = database.with_name("e.db-wake") / "wdead"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as left:
        left.bind(str(path))

    bells.ring(Topic.WORK)

    assert not path.exists()


def test_a_folder_too_deep_for_socket_names_has_hints_all_the_same(
    open_bells: Opener, database: Path
) -> None:
    deep = database.parent / ("d" * 120) / "e.db"
    deep.parent.mkdir()
    ear = open_bells(deep).listen(Topic.WORK)
    if ear is None:
        pytest.skip("needs /proc")

    open_bells(deep).ring(Topic.WORK)

    assert _is_heard(ear)
    ear.close()


def test_without_a_folder_there_are_no_hints(open_bells: Opener, tmp_path: Path) -> None:
    (tmp_path / "e.db-wake").write_text("in the way")
    bells = open_bells(tmp_path / "e.db")

    assert bells.listen(Topic.WORK) is None
    bells.ring(Topic.WORK)
    assert os.listdir(tmp_path) == ["e.db-wake"]
