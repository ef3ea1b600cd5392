"""What is asked wrongly: exit code 2, the cause and the next move named, never a traceback."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.conftest import Answer

Errands = Callable[..., Answer]


def refused(answer: Answer, *names: str) -> None:
    assert answer.code == 2, answer.err
    assert answer.err.startswith("Error: ")
    assert "Traceback" not in answer.err
    assert answer.out == ""
    for name in names:
        assert name in answer.err


@pytest.mark.parametrize(
    ("arguments", "names"),
    [
        (["wat"], ["wat"]),
        (["worker"], ["MODULE:APP"]),
        (["worker", "shop"], ["'shop'", "module:attribute"]),
        (["worker", "shop:"], ["'shop:'"]),
        (["worker", "a b:app"], ["'a b:app'"]),
        (["worker", "nowhere:app"], ["no module 'nowhere'"]),
        (["worker", "tests.nowhere:app"], ["no module 'tests.nowhere'"]),
        (["worker", "tests.cli.shop:nothing"], ["no 'nothing'", "tests.cli.shop:app"]),
        (["worker", "tests.cli.shop:add"], ["is no App; its type is", "App(…)"]),
        (["worker", "tests.cli.shop:app", "--processes", "0"], ["processes", "0"]),
        (["worker", "tests.cli.shop:app", "--processes", "two"], ["--processes"]),
        (["worker", "tests.cli.shop:app", "--concurrency", "0"], ["concurrency", "0"]),
        (["worker", "tests.cli.shop:app", "--grace", "20"], ["grace", "'20'", '"5s"']),
        (["worker", "tests.cli.shop:app", "--store", "redis://x"], ["redis://x", "sqlite:///"]),
        (["worker", "tests.cli.shop:app", "--nope"], ["--nope"]),
        (["migrate", "--store", "sqlite://x.db"], ["sqlite://x.db", "sqlite:///"]),
        (["runs", "wat"], ["wat"]),
        (["runs", "list", "--status", "odd"], ["'--status': 'odd' is not", "runs list --help"]),
        (["runs", "list", "--limit", "0"], ["--limit", "1. `errands runs list --help`"]),
        (["runs", "list", "--limit", "many"], ["--limit", "integer"]),
        (["runs", "show"], ["ID"]),
        (["runs", "cancel"], ["ID"]),
        (["rnus"], ["'rnus'", "Did you mean 'runs'? `errands --help`"]),
        (["send"], ["NAME"]),
        (["send", "paid", "{"], ["DATA is no JSON", "'{'", "@file.json"]),
        (["send", "paid", "[1]"], ["DATA is JSON, but no object"]),
        (["send", "paid", "@nowhere.json"], ["nowhere.json cannot be read"]),
        (["send", "paid", "a=1", "b"], ["'b'", "pairs"]),
        (["send", "paid", "a:=x"], ["a is no JSON"]),
        (["send", "paid", "--user", "7"], ["--user is JSON, but no object"]),
        (["send", "paid", "--ts", "noon"], ["--ts: 'noon' is no time", "milliseconds"]),
        (["jobs", "update", "X"], ["Nothing is to be changed", "--progress"]),
        (["jobs", "update", "X", "--result", "{"], ["--result is no JSON"]),
        (["migrate", "--url", "http://localhost"], ["--url"]),
        (["migrate", "--store", "http://localhost:1"], ["is a server", "--store sqlite:///"]),
        (["runs", "list", "--url", "redis://x"], ["redis://x", "sqlite:///"]),
        (["init", "no-module.py"], ["no-module.py could not be imported"]),
        (["init", "nowhere/a.py"], ["no folder nowhere"]),
    ],
)
def test_a_wrong_command_line_is_refused(
    errands: Errands, arguments: list[str], names: list[str]
) -> None:
    refused(errands(*arguments), *names)


@pytest.mark.parametrize(
    "arguments",
    [
        ["runs", "list"],
        ["runs", "show", "X"],
        ["runs", "cancel", "X"],
        ["runs", "watch", "X"],
        ["functions", "list"],
        ["events", "list"],
        ["jobs", "create"],
        ["send", "paid"],
        ["doctor"],
    ],
    ids=" ".join,
)
def test_a_store_that_is_not_there_is_not_made(
    errands: Errands, tmp_path: Path, arguments: list[str]
) -> None:
    refused(errands(*arguments), f"no store at {tmp_path}/errands.db", "ERRANDS_URL")
    assert not (tmp_path / "errands.db").exists()


def test_migrate_check_makes_no_store_either(errands: Errands, tmp_path: Path) -> None:
    refused(errands("migrate", "--check"), f"no store at {tmp_path}/errands.db")
    assert not (tmp_path / "errands.db").exists()


@pytest.mark.parametrize(
    ("arguments", "names"),
    [
        (["runs", "show", "X"], ["no run 'X'"]),
        (["runs", "cancel", "X"], ["no run 'X'"]),
        (["runs", "rerun", "X"], ["no run 'X'"]),
        (["runs", "watch", "X"], ["no run 'X'"]),
        (["events", "show", "X"], ["no event 'X'"]),
        (["jobs", "show", "X"], ["Job not found"]),
        (["jobs", "watch", "X"], ["Job not found"]),
        (["jobs", "cancel", "X"], ["Job not found"]),
        (["jobs", "update", "X", "--progress", "1"], ["Job not found"]),
        (["runs", "list", "--before", "X"], ["--before", "shows the ids"]),
        (["events", "list", "--before", "X"], ["--before", "shows the ids"]),
    ],
    ids=lambda given: " ".join(given),
)
def test_an_id_that_is_none_is_refused(
    errands: Errands, arguments: list[str], names: list[str]
) -> None:
    errands("migrate")
    refused(errands(*arguments), *names)


@pytest.mark.parametrize("tag", ["foo", "=foo", ""])
def test_a_tag_without_key_and_value_is_refused(errands: Errands, tag: str) -> None:
    errands("migrate")
    refused(errands("runs", "list", "--tag", tag), f"{tag!r} is no KEY=VALUE")


@pytest.mark.parametrize("command", [["migrate"], ["worker", "tests.cli.shop:app"]], ids=" ".join)
def test_a_folder_that_is_missing_is_not_made(
    errands: Errands, tmp_path: Path, command: list[str]
) -> None:
    url = f"sqlite:///{tmp_path}/no/such/errands.db"
    for answer in (errands(*command, "--store", url), errands(*command, ERRANDS_URL=url)):
        refused(answer, f"no folder {tmp_path}/no/such", "mkdir -p")
    assert not (tmp_path / "no").exists()


def test_a_function_that_is_not_registered_is_refused(errands: Errands) -> None:
    errands("migrate")
    refused(errands("runs", "list", "--function", "ad"), "no function 'ad'")


def test_a_file_that_is_no_database_is_named(errands: Errands, tmp_path: Path) -> None:
    (tmp_path / "text.db").write_text("no database, but long enough to be looked at. " * 100)
    answer = errands("runs", "list", "--store", f"sqlite:///{tmp_path}/text.db")
    assert answer.code == 1
    assert f"{tmp_path}/text.db cannot be used as a store" in answer.err
    assert "Traceback" not in answer.err


def test_an_app_whose_import_fails_is_refused_with_the_place(
    errands: Errands, tmp_path: Path
) -> None:
    (tmp_path / "broken.py").write_text("x = 1\ny = x / 0\n")
    refused(
        errands("worker", "broken:app"),
        "ZeroDivisionError: division by zero",
        f"{tmp_path}/broken.py:2",
    )


def test_an_app_that_needs_a_missing_module_is_refused_with_its_name(
    errands: Errands, tmp_path: Path
) -> None:
    (tmp_path / "needy.py").write_text("import not_installed\n")
    refused(errands("worker", "needy:app"), "No module named 'not_installed'", "needy.py:1")


def test_an_app_with_a_mistake_in_a_declaration_is_refused_with_our_words(
    errands: Errands, tmp_path: Path
) -> None:
    code = "from errands import App\napp = App('a')\n@app.job(retries=-1)\ndef f() -> None: ...\n"
    (tmp_path / "wrong.py").write_text(code)
    refused(errands("worker", "wrong:app"), "retries")


def test_a_setting_that_cannot_be_is_refused_by_its_variable(errands: Errands) -> None:
    answer = errands("worker", "tests.cli.shop:app", ERRANDS_CONCURRENCY="many")
    refused(answer, "ERRANDS_CONCURRENCY='many'")


def test_debug_shows_the_traceback(errands: Errands) -> None:
    assert "Traceback" in errands("worker", "nowhere:app", ERRANDS_DEBUG="1").err
