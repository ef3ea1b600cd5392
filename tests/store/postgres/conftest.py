"""What is tested here is about PostgreSQL alone."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.store.stores import new_url


@pytest.fixture
def url(tmp_path: Path) -> Iterator[str]:
    with new_url("postgres", tmp_path) as found:
        yield found
