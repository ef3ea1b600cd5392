"""What a claim costs beside a million waiting runs, compared with a thousand.

In CPU time of the thread that claims: the disk's share is the same in both and would hide the rest.
"""

import statistics
import time
from pathlib import Path
from typing import Any

from bench.load import TEXT, USER
from bench.look import Look
from bench.toy import Toy
from errands.engine.input import Claim
from errands.engine.state import Here
from errands.model.function import FunctionKind
from errands.store.cycle import Entry, run_cycle

FEW = 1_000
CLAIMS = 20
CLAIMED = FEW // CLAIMS
CHUNK = 1_000


async def prepare(folder: Path, n: int) -> None:
    """A store in which so many runs wait."""
    toy = Toy(folder)
    for at in range(0, n, CHUNK):
        jobs = [toy.noop.bind(USER, TEXT) for _ in range(min(CHUNK, n - at))]
        await toy.app.enqueue_many(jobs)
    with Look(toy.path) as look:
        await look.wait("SELECT count(*) FROM item", n)
    toy.close()


async def claim_ratio(folder: Path, n: int, prepared: Path) -> float:
    """Each measurement claims the next thousand of the million, and a thousand of a thousand."""
    await prepare(folder, FEW)
    few = await _seconds(folder)
    many = await _seconds(prepared)
    return many / few


async def _seconds(folder: Path) -> float:
    """The median cost of a claim."""
    toy = Toy(folder)
    await toy.app.connected()
    backend: Any = toy.app.backend
    committer = backend.committer
    config = backend.store.reader.config()
    known = committer.here
    here = Here(known.worker, known.key, known.keep_ms)
    here.serves = frozenset(
        f.id for f in config.functions.values() if f.config.kind == FunctionKind.JOB
    )
    here.room = FEW
    took: list[float] = []
    for _ in range(CLAIMS):
        started = time.thread_time()
        outcome = run_cycle(
            backend.store,
            [Entry(Claim(CLAIMED))],
            here,
            config,
            backend.clock.now,
            committer.new_id,
        )
        took.append(time.thread_time() - started)
        assert len(outcome.state.items.before) == CLAIMED
    toy.close()
    return statistics.median(took)
