"""`errands demo`: the story ends well, with what it promises in it."""

from collections.abc import Callable
from pathlib import Path

from tests.cli.conftest import Answer

Errands = Callable[..., Answer]
OnTerminal = Callable[..., str]


def test_the_demo_survives_the_kill_and_repeats_no_kept_step(
    errands: Errands, tmp_path: Path
) -> None:
    answer = errands("demo")

    assert (answer.code, answer.err) == (0, "")
    runs = {run["function"]: run for run in answer.json}
    assert {run["status"] for run in runs.values()} == {"completed"}
    whats = [one["what"] for run in runs.values() for one in run["history"]]
    assert "crashed" in whats
    assert "attempt failed" in whats
    assert len(runs["make_album"]["result"]) == 3
    assert {path.name for path in tmp_path.iterdir()} == {".errands"}


def test_the_demo_tells_its_story_and_where_to_look(
    on_terminal: OnTerminal, errands: Errands, tmp_path: Path
) -> None:
    shown = on_terminal("demo", "--store", f"sqlite:///{tmp_path}/demo.db", NO_COLOR="1")

    for part in ("Ada signs up", "kill -9", "✗", "░", "Look at it:", "errands init"):
        assert part in shown
    command = next(line for line in shown.splitlines() if "errands runs show" in line).split()
    assert errands(*command[1:]).json["status"] == "completed"


def test_a_folder_that_is_missing_is_not_made(errands: Errands, tmp_path: Path) -> None:
    answer = errands("demo", "--store", f"sqlite:///{tmp_path}/no/demo.db")
    assert (answer.code, "no folder" in answer.err) == (2, True)
