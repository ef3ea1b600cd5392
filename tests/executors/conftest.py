"""One process at a real store, driven by hand."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from errands.store.interface import Store
from errands.store.open import open_store
from tests.store.process import Process, StillClock


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = open_store(f"sqlite:///{tmp_path}/errands.db")
    yield store
    store.close()


@pytest.fixture
def clock() -> StillClock:
    return StillClock()


@pytest.fixture
def process(store: Store, clock: StillClock) -> Process:
    return Process(store, clock, concurrency=2_000)
