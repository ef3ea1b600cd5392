"""`errands init`: what it writes works, fits the folder, and never takes another file's place."""

import ast
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from errands.cli.starter import find_web, starter
from tests.cli.conftest import Answer, Process
from tests.cli.test_bad_input import refused

Errands = Callable[..., Answer]
Start = Callable[..., Process]
FASTAPI = "from fastapi import FastAPI\n\nshop = FastAPI()\n"
FLASK = "import flask\n\napi = flask.Flask(__name__)\n"
MANAGE = (
    "import os, sys\nos.environ.setdefault('DJANGO_SETTINGS_MODULE', 'mysite.settings')\n"
    "from django.core.management import execute_from_command_line\n"
)


def wrote(errands: Errands, folder: Path, *arguments: str) -> tuple[str, str]:
    """What it said, and what it wrote."""
    answer = errands("init", *arguments)
    assert (answer.code, answer.err) == (0, "")
    text = (folder / "errands_app.py").read_text()
    ast.parse(text)
    return answer.out, text


def test_the_next_two_commands_are_told(errands: Errands, tmp_path: Path) -> None:
    said, text = wrote(errands, tmp_path)
    for command in ("errands dev errands_app:app", "errands send hello name=Ada"):
        assert f"  {command}\n" in said
        assert command in text


def test_the_app_works_as_it_is_told(errands: Errands, start: Start, tmp_path: Path) -> None:
    wrote(errands, tmp_path)
    start(target="errands_app:app").wait_line("2 functions")

    answer = errands("send", "hello", "name=Ada")

    (run,) = answer.json["runs"]
    assert (answer.code, run["result"]) == (0, "Hello, Ada!")
    assert [step["id"] for step in run["steps"]] == ["greet", "a moment", "deliver"]


def test_the_app_for_fastapi_works_in_a_web_app(
    errands: Errands, tmp_path: Path, environment: dict[str, str]
) -> None:
    (tmp_path / "main.py").write_text(FASTAPI)

    said, _ = wrote(errands, tmp_path)

    line = said.strip().splitlines()[-1]
    assert line == ("And in main.py: from errands_app import router; shop.include_router(router)")
    (tmp_path / "main.py").write_text(FASTAPI + line.partition(": ")[2].replace("; ", "\n"))
    code = (
        "import asyncio, httpx2, main\n"
        "async def ask():\n"
        "    transport = httpx2.ASGITransport(main.shop)\n"
        "    async with httpx2.AsyncClient(transport=transport, base_url='http://x') as client:\n"
        "        print((await client.post('/hello/Ada')).json()['event'])\n"
        "asyncio.run(ask())\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=environment,
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    event = errands("events", "show", done.stdout.strip()).json
    assert (event["name"], event["data"]) == ("hello", {"name": "Ada"})
    assert len(event["runs"]) == 1


@pytest.mark.parametrize(
    ("files", "framework", "names"),
    [
        ({}, "", []),
        ({"readme.md": "We chose between FastAPI, Django and Flask"}, "", []),
        ({"web/main.py": FASTAPI}, "fastapi", ["web/main.py", "shop.include_router"]),
        ({"requirements.txt": "uvicorn\nFastAPI[all]==0.1\n"}, "fastapi", ["requirements.txt"]),
        ({"pyproject.toml": 'dependencies = [\n  "flask>=3",\n]'}, "flask", ["pyproject.toml"]),
        ({"pyproject.toml": 'dependencies = ["flask-nothing"]'}, "", []),
        ({"site.py": FLASK}, "flask", ["site.py", "api.register_blueprint"]),
        ({"manage.py": MANAGE}, "django", ["mysite/urls.py"]),
        ({"requirements/base.txt": "Django~=5.0"}, "django", ["requirements/base.txt"]),
        ({".venv/lib/x.py": FASTAPI, "venv/pyvenv.cfg": "", "venv/y.py": FLASK}, "", []),
        ({"errands_app_old.py": "x = 'import flask'"}, "", []),
    ],
)  # fmt: skip
def test_the_framework_of_a_folder_is_found(
    tmp_path: Path, files: dict[str, str], framework: str, names: list[str]
) -> None:
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)

    web = find_web(tmp_path / "errands_app.py", None)

    assert web.name == (framework or "plain")
    for name in names:
        assert name in f"{web.told()} {web.next_move('errands_app')}"
    text = starter(tmp_path / "errands_app.py", web)
    ast.parse(text)
    for one in ("fastapi", "django", "flask"):
        assert (f"from {one}" in text) is (one == framework)


def test_django_is_set_up_with_the_projects_settings(errands: Errands, tmp_path: Path) -> None:
    (tmp_path / "manage.py").write_text(MANAGE)
    _, text = wrote(errands, tmp_path)
    assert '"DJANGO_SETTINGS_MODULE", "mysite.settings"' in text


def test_the_framework_may_be_said(errands: Errands, tmp_path: Path) -> None:
    (tmp_path / "main.py").write_text(FASTAPI)
    assert "import" in wrote(errands, tmp_path, "--framework", "flask")[1]
    said, text = wrote(errands, tmp_path, "--framework", "plain", "--force")
    assert ("flask" in text, "fastapi" in text, "And in" in said) == (False, False, False)


def test_a_file_that_is_there_is_left_as_it_is(errands: Errands, tmp_path: Path) -> None:
    mine = tmp_path / "errands_app.py"
    mine.write_text("# mine\n")

    refused(errands("init"), "errands_app.py is there already", "--force")
    assert mine.read_text() == "# mine\n"

    wrote(errands, tmp_path, "--force")
    assert mine.read_text() != "# mine\n"


def test_the_name_of_the_file_is_a_choice(errands: Errands, tmp_path: Path) -> None:
    answer = errands("init", "jobs.py")
    assert "errands dev jobs:app" in answer.out
    assert "errands dev jobs:app" in (tmp_path / "jobs.py").read_text()
