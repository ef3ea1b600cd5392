"""Every store that must behave alike; each test runs on each of them, on real files and servers."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from errands.store.interface import Store
from errands.store.open import open_store
from tests.store.process import Process, StillClock
from tests.store.stores import STORES, new_url


@pytest.fixture(params=STORES)
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """Where a store may be made that nobody else uses."""
    with new_url(request.param, tmp_path) as found:
        yield found


@pytest.fixture
def open_again(url: str) -> Iterator[Callable[[], Store]]:
    """Opens that store, as another process would."""
    opened: list[Store] = []

    def opener() -> Store:
        opened.append(open_store(url))
        return opened[-1]

    yield opener
    for store in opened:
        store.close()


@pytest.fixture
def store(open_again: Callable[[], Store]) -> Store:
    return open_again()


@pytest.fixture
def clock() -> StillClock:
    return StillClock()


@pytest.fixture
def process(store: Store, clock: StillClock) -> Process:
    """A worker with room for many runs."""
    return Process(store, clock, concurrency=2_000)
