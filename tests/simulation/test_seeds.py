"""Guarantees 1–3 and 6–8 hold in a thousand random histories with faults."""

import pytest

from tests.simulation.simulate import simulate

SEEDS, CHUNK = 1_000, 25
"""How many, and how many of them one test runs: so that processes can share them."""


@pytest.mark.timeout(300)
@pytest.mark.parametrize("first", range(0, SEEDS, CHUNK))
def test_no_promise_is_broken(first: int) -> None:
    for seed in range(first, first + CHUNK):
        verdict = simulate(seed)
        assert not verdict.violations, f"again: ./script/simulate --only {seed}"
