"""A seed is a history: it is the same again, in another process and in another order of hashes."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.simulation.simulate import simulate

ROOT = Path(__file__).parents[2]
SEEDS = range(2_000, 2_012)
PRINT_DIGESTS = """
import sys
from tests.simulation.simulate import simulate
print(*(simulate(int(seed)).digest for seed in sys.argv[1:]))
"""


@pytest.mark.timeout(300)
def test_seed_gives_the_same_history_again() -> None:
    for seed in SEEDS:
        assert simulate(seed).digest == simulate(seed).digest, f"seed {seed}"


@pytest.mark.timeout(300)
@pytest.mark.parametrize("hash_seed", ["1", "77"])
def test_seed_gives_the_same_history_in_another_interpreter(hash_seed: str) -> None:
    here = [simulate(seed).digest for seed in SEEDS]

    there = subprocess.run(
        # Backwards: what ran before in the same process must not matter either.
        [sys.executable, "-c", PRINT_DIGESTS, *map(str, reversed(SEEDS))],
        cwd=ROOT,
        env={**os.environ, "PYTHONHASHSEED": hash_seed},
        capture_output=True,
        text=True,
        check=True,
    )

    assert there.stdout.split() == here[::-1]


def test_different_seeds_give_different_histories() -> None:
    assert len({simulate(seed).digest for seed in SEEDS}) == len(SEEDS)
