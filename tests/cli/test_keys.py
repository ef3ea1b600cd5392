"""`errands keys new`: a set of keys, as an .env file has them."""

import re
from collections.abc import Callable

from tests.cli.conftest import Answer

Errands = Callable[..., Answer]
NAMES = ["ERRANDS_EVENT_KEY", "ERRANDS_SIGNING_KEY", "ERRANDS_API_TOKEN"]


def made(answer: Answer) -> dict[str, str]:
    lines = [line for line in answer.out.splitlines() if line and not line.startswith("#")]
    return dict(line.split("=", 1) for line in lines)


def test_it_prints_lines_of_an_env_file_and_nothing_else_on_stdout(errands: Errands) -> None:
    assert list(made(errands("keys", "new"))) == NAMES


def test_each_key_has_32_random_bytes_of_its_own(errands: Errands) -> None:
    keys = [*made(errands("keys", "new")).values(), *made(errands("keys", "new")).values()]
    assert len(set(keys)) == 6
    assert all(re.search(r"[0-9a-f]{64}$", key) for key in keys)


def test_it_says_how_to_use_them(errands: Errands) -> None:
    answer = errands("keys", "new")
    assert answer.code == 0
    assert "errands serve" in answer.err
    assert ".env" in answer.err


def test_as_json_it_is_one_object(errands: Errands) -> None:
    assert list(errands("keys", "new", "--json").json) == NAMES
