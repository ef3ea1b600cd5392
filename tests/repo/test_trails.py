"""The trails of docs/ARCHITECTURE.md and of the decisions: each file and name exists."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "src" / "errands"
PAGES = [ROOT / "docs" / "ARCHITECTURE.md", *sorted((ROOT / "docs" / "decisions").glob("*.md"))]
TRAIL = re.compile(r"`((?:[a-z_]+/)*[a-z_0-9]+\.(?:py|sql))(?::\s+([A-Za-z_.]+))?`", re.DOTALL)


def trails(page: Path) -> list[tuple[str, str]]:
    return [(path, name) for path, name in TRAIL.findall(page.read_text())]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_file_and_name_exists(page: Path) -> None:
    wrong = []
    for path, name in trails(page):
        file = next((root / path for root in (PACKAGE, ROOT) if (root / path).exists()), None)
        if file is None or (name and name.split(".")[-1] not in file.read_text()):
            wrong.append(f"{path}: {name}")
    assert wrong == []
