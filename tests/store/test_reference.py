"""The pages about retries, errors and state machines say what the code says."""

import enum
import inspect
import re
from pathlib import Path

import pytest

from errands.engine import input
from errands.engine.liveness import STRIKES
from errands.engine.retry import BACKOFF_MS, JITTER_MS
from errands.executors.committer import TRIES_MAX
from errands.model import call, errors, item, run, step, timer, worker
from errands.model.duration import parse_duration
from errands.model.errors import ErrandsError
from errands.model.function import RetryPolicy
from errands.sdk.options import RETRIES_MAX

DOCS = Path(__file__).parents[2] / "docs"
RETRIES = (DOCS / "reference/retries.md").read_text()
ERRORS = (DOCS / "reference/errors.md").read_text()
MACHINES = (DOCS / "STATE_MACHINES.md").read_text()
KINDS: dict[str, type[ErrandsError]] = {
    kind.code: kind
    for name, kind in vars(errors).items()
    if inspect.isclass(kind) and issubclass(kind, ErrandsError) and not name.startswith("_")
}
LINES = {
    code: (name, rest)
    for code, name, rest in re.findall(r"^\| `(\w+)` \| `(\w+)` \|(.*)$", ERRORS, re.MULTILINE)
}
ENUMS = [
    kind
    for module in (item, run, step, timer, worker)
    for kind in vars(module).values()
    if inspect.isclass(kind) and issubclass(kind, enum.Enum) and kind.__module__ == module.__name__
]


def test_each_error_code_is_on_its_page_and_nothing_else() -> None:
    assert set(LINES) == set(KINDS)


@pytest.mark.parametrize("code", KINDS)
def test_an_error_s_line_names_its_class_and_what_it_means_for_a_caller(code: str) -> None:
    name, rest = LINES[code]

    assert name == KINDS[code].__name__
    assert ("**Retryable.**" in rest) == KINDS[code].retryable
    assert ("*Ends the run" in rest) == KINDS[code].fails_run_at_once


def test_the_back_off_table_is_that_of_the_rule() -> None:
    lines = re.findall(r"^\| (\d+)[^|]* \| ([^|]+?) \| [^|]+ \|$", RETRIES, re.MULTILINE)

    assert [int(attempt) for attempt, _ in lines] == list(range(len(BACKOFF_MS)))
    assert [parse_duration(wait, "wait") for _, wait in lines] == list(BACKOFF_MS)


def test_the_figures_of_the_page_on_retries_are_those_of_the_code() -> None:
    assert f"{JITTER_MS // 1_000} s by chance are added" in RETRIES
    assert f"`retries={RetryPolicy().count}`, the default" in RETRIES
    assert f"From 0 to {RETRIES_MAX:,} retries" in RETRIES
    assert f"| {STRIKES} | **Three strikes**" in RETRIES
    assert f"tried {TRIES_MAX} times" in RETRIES


@pytest.mark.parametrize("kind", ENUMS, ids=lambda kind: kind.__name__)
def test_each_state_is_on_the_page_of_state_machines(kind: type[enum.Enum]) -> None:
    words = set(re.findall(r"\w+", MACHINES))

    assert kind.__name__ in words
    assert {member.name for member in kind} <= words


def test_the_diagrams_name_no_state_and_no_input_that_there_is_not() -> None:
    states = {member.name for kind in ENUMS for member in kind} | {"gone", "[*]"}
    inputs = {name for module in (input, call) for name in vars(module)}
    arrows = re.findall(r"^    (\S+) --> (\S+?)(?:: (.*))?$", MACHINES, re.MULTILINE)

    assert len(arrows) > 30
    assert {state for a, b, _ in arrows for state in (a, b)} <= states
    named = {word for _, _, why in arrows for word in re.findall(r"\b[A-Z]\w+[a-z]\b", why)}
    assert named <= inputs


@pytest.mark.parametrize("name", re.findall(r"`([a-z_]+)\.py(?:: \w+)?`", MACHINES))
def test_the_rules_that_are_named_exist(name: str) -> None:
    assert (DOCS.parent / f"src/errands/engine/{name}.py").exists()


@pytest.mark.parametrize(
    "page",
    [DOCS / "reference/retries.md", DOCS / "reference/errors.md", DOCS / "STATE_MACHINES.md"],
)
def test_links_lead_somewhere(page: Path) -> None:
    links = re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text())

    assert [link for link in links if not (page.parent / link).exists()] == []
