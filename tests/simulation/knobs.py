"""Limits that are seldom reached, made small by chance, so that what happens there does happen."""

import random
from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from types import ModuleType
from unittest.mock import patch

from errands.engine import ingest
from errands.executors import committer, inbox, timers
from errands.store.sqlite import store

KNOBS: tuple[tuple[tuple[ModuleType, ...], str, tuple[int, ...]], ...] = (
    ((ingest,), "CHUNK", (3, 500)),
    ((ingest, store), "PAGE", (2, 100)),
    ((inbox,), "PAGE", (2, 500)),
    ((timers,), "PAGE", (1, 500)),
    ((committer,), "CLAIM_MAX", (1, 500)),
    ((committer,), "BATCH_ROWS_MAX", (1, 20, 2_000)),
)


@contextmanager
def turned(chance: random.Random) -> Generator[None]:
    with ExitStack() as stack:
        for modules, name, values in KNOBS:
            value = chance.choice(values)
            for module in modules:
                stack.enter_context(patch.object(module, name, value))
        yield
