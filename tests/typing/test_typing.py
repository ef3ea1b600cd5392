"""What users write, under two type checkers: right uses pass, wrong uses are refused."""

import functools
import json
import re
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

import pytest

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
WRONG = HERE / "negative" / "wrong.py"

Errors = dict[str, dict[int, str]]
"""By file name, by line."""

# mypy does not look at the keywords of a class statement when there is a metaclass.
MISSED_BY_MYPY = {"class keyword"}


@functools.cache
def pyright() -> Errors:
    command = ["pyright", "--outputjson", "--project", str(HERE), "--pythonpath", sys.executable]
    done = subprocess.run(
        [sys.executable, "-m", *command], cwd=ROOT, capture_output=True, text=True, check=False
    )
    found: Errors = defaultdict(dict)
    for one in json.loads(done.stdout)["generalDiagnostics"]:
        if one["severity"] == "error":
            line = one["range"]["start"]["line"] + 1
            found[Path(one["file"]).name][line] = one["message"]
    return found


@functools.cache
def mypy() -> Errors:
    paths = [str(HERE / "samples"), str(WRONG)]
    command = ["mypy", "--no-error-summary", "--no-color-output", *paths]
    done = subprocess.run(
        [sys.executable, "-m", *command], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert not done.stderr, done.stderr
    found: Errors = defaultdict(dict)
    for text in done.stdout.splitlines():
        if parsed := re.match(r"(.+?):(\d+): error: (.*)", text):
            found[Path(parsed[1]).name][int(parsed[2])] = parsed[3]
    return found


def marked() -> dict[int, str]:
    """The lines that must be refused, and why."""
    lines = WRONG.read_text().splitlines()
    return {at: line.split("# E ")[1] for at, line in enumerate(lines, 1) if "# E " in line}


def is_refused(line: int, errors: dict[int, str]) -> bool:
    # mypy reports some errors of a decorator on the line of the function below it.
    is_decorator = WRONG.read_text().splitlines()[line - 1].startswith("@")
    return line in errors or (is_decorator and line + 1 in errors)


@pytest.mark.parametrize("check", [pyright, mypy])
def test_samples_are_clean(check: "functools._lru_cache_wrapper[Errors]") -> None:
    assert {name: found for name, found in check().items() if name != WRONG.name} == {}


@pytest.mark.parametrize(("check", "missed"), [(pyright, set[str]()), (mypy, MISSED_BY_MYPY)])
def test_each_wrong_use_is_refused(
    check: "functools._lru_cache_wrapper[Errors]", missed: set[str]
) -> None:
    errors = check()[WRONG.name]

    accepted = {line: why for line, why in marked().items() if not is_refused(line, errors)}

    assert set(accepted.values()) == missed, accepted


@pytest.mark.parametrize("check", [pyright, mypy])
def test_nothing_else_is_refused(check: "functools._lru_cache_wrapper[Errors]") -> None:
    wanted = set(marked())
    allowed = wanted | {line + 1 for line in wanted}

    assert {line: why for line, why in check()[WRONG.name].items() if line not in allowed} == {}
