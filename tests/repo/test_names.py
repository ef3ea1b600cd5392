"""Files say what they hold, and name nothing that only one machine has."""

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

# A file with such a name holds whatever had no place; its lines have one.
EMPTY_NAMES = {"base.py", "common.py", "helpers.py", "manager.py", "misc.py", "util.py", "utils.py"}

MACHINE_PATH = re.compile(r"(?<![\w.])/(work|root|opt/pypi)\b(?![\w-])|\.pyenv\b|\.\./shared\b")
REGISTRY_HOST = re.compile(
    r"pypi\.org|pythonhosted\.org|registry\.(npmjs\.org|yarnpkg\.com)|(index-url|find-links)[ =]"
)


def files() -> list[Path]:
    """Each file of ours, committed or about to be, but this one, which names what it looks for."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode != 0:
        pytest.skip("no git checkout, so nothing tells our files from others")
    paths = [ROOT / name for name in listed.stdout.split("\0") if name]
    return [path for path in paths if path.is_file() and path != Path(__file__)]


def mentions(pattern: re.Pattern[str]) -> dict[str, str]:
    """Path and line of each text file's first line that `pattern` is found in."""
    found: dict[str, str] = {}
    for path in files():
        content = path.read_bytes()
        if b"\0" in content:  # no text
            continue
        for number, line in enumerate(content.decode().splitlines(), 1):
            if pattern.search(line):
                found[f"{path.relative_to(ROOT)}:{number}"] = line.strip()
                break
    return found


def test_files_are_named_by_what_they_hold() -> None:
    assert [str(path.relative_to(ROOT)) for path in files() if path.name in EMPTY_NAMES] == []


def test_no_file_names_a_path_of_one_machine() -> None:
    assert mentions(MACHINE_PATH) == {}


def test_no_file_names_a_registry() -> None:
    assert mentions(REGISTRY_HOST) == {}


@pytest.mark.parametrize(
    "line", ["cd /work/main", '"/root/.pyenv/versions"', "see ../shared/design.md", "open('/work')"]
)
def test_a_path_of_one_machine_is_found(line: str) -> None:
    assert MACHINE_PATH.search(line)


@pytest.mark.parametrize("line", ["src/errands/worker.py", "docs/work/day", "/workers", "/roots"])
def test_other_paths_are_fine(line: str) -> None:
    assert not MACHINE_PATH.search(line)


@pytest.mark.parametrize(
    "line", ["https://pypi.org/simple", "--extra-index-url https://x", "--find-links=x"]
)
def test_a_registry_is_found(line: str) -> None:
    assert REGISTRY_HOST.search(line)
