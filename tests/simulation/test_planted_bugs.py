"""The simulation is worth its time if it finds bugs: each of these, within its thousand seeds."""

import pytest

from tests.simulation.planted import PLANTED
from tests.simulation.simulate import simulate
from tests.simulation.test_seeds import SEEDS

RARE = {"takeover_revives_what_has_just_ended": 820, "late_report_undoes_a_result": 100}
"""Where to begin to look for those that few histories show: saves time, and proves the same."""


@pytest.mark.timeout(600)
@pytest.mark.parametrize("bug", PLANTED)
def test_planted_bug_is_found(bug: str) -> None:
    start = RARE.get(bug, 0)
    with PLANTED[bug]():
        found = next(
            (
                verdict
                for n in range(SEEDS)
                if (verdict := simulate((start + n) % SEEDS)).violations
            ),
            None,
        )

    assert found is not None, f"none of {SEEDS} seeds shows it"
    assert not simulate(found.seed).violations, "found without the bug, too"
    print(f"{bug}: seed {found.seed}: {found.violations[0].splitlines()[0]}")
