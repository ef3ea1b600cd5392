"""Each figure can be measured, and is told in the form that is promised."""

import json
from pathlib import Path
from typing import Any

import pytest

from bench.command import main
from bench.figures import FIGURES

SMALL = {"sqlite.claim_ratio": 1_000, "sqlite.latency_ms": 5, "timers.lag_ms": 50}
"""Jobs, runs or sleepers; 20 of the others."""


def measured(name: str, tmp_path: Path) -> dict[str, Any]:
    file = tmp_path / "figures.json"
    n = SMALL.get(name, 20)
    assert main([name, "--runs", "1", "-n", str(n), "--json", str(file)]) == 0
    return json.loads(file.read_text())["figures"][name]


@pytest.mark.parametrize("name", list(FIGURES))
def test_figure_is_measured_and_told_in_its_form(name: str, tmp_path: Path) -> None:
    figure = FIGURES[name]

    told = measured(name, tmp_path)

    assert told["unit"] == figure.unit
    assert len(told["runs"]) == 1
    assert (told["floor"] is None) == (figure.floor is None)
    assert (told["ratio"] is None) == (figure.floor is None)
    if name.endswith("_ms"):
        assert 0 < told["value"]["p50"] <= told["value"]["p99"]
    elif not name.startswith("memory."):
        assert told["value"] > 0
