"""A folder with a shop in it, and processes that end with the test."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.server.children import ERRANDS, SHOP, Running

Start = Callable[..., Running]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "shop.py").write_text(SHOP)
    return tmp_path


@pytest.fixture
def run(folder: Path) -> Iterator[Start]:
    """Start Python with these arguments in the folder; variables by name."""
    started: list[Running] = []

    def begin(*command: str, **variables: str) -> Running:
        started.append(Running(command, folder, variables))
        return started[-1]

    yield begin
    for one in started:
        one.close()


@pytest.fixture
def errands(run: Start) -> Start:
    """Start a command of errands."""

    def begin(*command: str, **variables: str) -> Running:
        return run(*ERRANDS, *command, **variables)

    return begin
