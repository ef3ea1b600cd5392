"""`errands config show`: each value, and where it is from."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from errands.cli.config import shown
from errands.settings import VARIABLES, Found
from tests.cli.conftest import Answer

Errands = Callable[..., Answer]


def by_name(answer: Answer) -> dict[str, Any]:
    return {one["name"]: one for one in answer.json}


def test_it_has_each_setting_with_its_origin(errands: Errands, tmp_path: Path, url: str) -> None:
    (tmp_path / "errands.toml").write_text("threads = 5")

    told = by_name(errands("config", "show", ERRANDS_LEASE="10s"))

    assert list(told) == ["url", *VARIABLES]
    assert (told["url"]["value"], told["url"]["origin"]) == (url, "ERRANDS_URL")
    assert (told["threads"]["value"], told["threads"]["origin"]) == (
        5,
        str(tmp_path / "errands.toml"),
    )
    assert (told["lease_ms"]["value"], told["lease_ms"]["origin"]) == (10_000, "ERRANDS_LEASE")
    assert told["parked"]["origin"] == "default"


def test_a_secret_is_told_to_be_set_and_not_shown(errands: Errands) -> None:
    answer = errands("config", "show", ERRANDS_API_TOKEN="hush-hush", INNGEST_EVENT_KEY="quiet")

    told = by_name(answer)
    assert told["api_token"]["set"] is True
    assert told["event_keys"]["origin"] == "INNGEST_EVENT_KEY"
    assert told["signing_key"]["set"] is False
    assert "hush-hush" not in answer.out
    assert "quiet" not in answer.out


def test_for_people_values_are_shown_as_they_are_written() -> None:
    assert shown(Found("lease_ms", 30_000, "default")) == "30 s"
    assert shown(Found("open_api", False, "default")) == "no"
    assert shown(Found("cors_origins", ("a", "b"), "ERRANDS_CORS_ORIGINS")) == "a, b"
    assert shown(Found("api_token", "hush", "ERRANDS_API_TOKEN")) == "set (ERRANDS_API_TOKEN)"
    assert shown(Found("api_token", "", "default")) == "not set"


def test_a_file_that_is_wrong_is_told(errands: Errands, tmp_path: Path) -> None:
    (tmp_path / "errands.toml").write_text("thread = 5")
    answer = errands("config", "show")
    assert answer.code == 2
    assert "there is no setting 'thread'" in answer.err
