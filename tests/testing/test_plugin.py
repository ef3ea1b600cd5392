"""The fixture `harness`, as each plugin that runs async tests sets it up."""

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

AUTO = "asyncio_mode = auto\nasyncio_default_fixture_loop_scope = function"
STRICT = "asyncio_mode = strict\nasyncio_default_fixture_loop_scope = function"
TEST = """
import pytest
from errands import App, step

app = App("shop")

@app.job
async def nap() -> str:
    await step.sleep("nap", "3 days")
    return "slept"
{fixture}
{mark}
async def test_a_nap(harness):
    await nap.enqueue()
    await harness.advance("3 days")
    assert harness.run(nap).result == "slept"
"""
FIXTURE = """
@pytest.fixture
def errands_app():
    return app
"""


def run(folder: Path, test: str, *options: str, ini: str = "") -> subprocess.CompletedProcess[str]:
    """pytest, in a process and folder of its own."""
    (folder / "test_nap.py").write_text(test)
    (folder / "pytest.ini").write_text(f"[pytest]\nfilterwarnings = error\n{ini}\n")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *options, "."]
    environment = {**os.environ, "PYTEST_ADDOPTS": ""}
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=60
    )


def passed(folder: Path, test: str, *options: str, ini: str = "") -> bool:
    ended = run(folder, test, *options, ini=ini)
    assert "1 passed" in ended.stdout, ended.stdout + ended.stderr
    return ended.returncode == 0


def test_it_works_in_the_auto_mode_of_pytest_asyncio(tmp_path: Path) -> None:
    test = TEST.format(fixture=FIXTURE, mark="")
    assert passed(tmp_path, test, ini=AUTO)


def test_it_works_in_the_strict_mode_of_pytest_asyncio(tmp_path: Path) -> None:
    test = TEST.format(fixture=FIXTURE, mark="@pytest.mark.asyncio")
    assert passed(tmp_path, test, ini=STRICT)


@pytest.mark.parametrize("scope", ["class", "module", "package", "session"])
def test_it_is_opened_in_the_loop_of_the_test(tmp_path: Path, scope: str) -> None:
    test = TEST.format(fixture=FIXTURE, mark=f"@pytest.mark.asyncio(loop_scope={scope!r})")
    if scope == "class":
        body = test[test.index("@pytest.mark") :].strip().replace("\n", "\n    ")
        body = body.replace("(harness)", "(self, harness)")
        test = test[: test.index("@pytest.mark")] + f"\nclass TestNap:\n    {body}\n"
    assert passed(tmp_path, test, ini=STRICT)


@pytest.mark.skipif(find_spec("anyio") is None, reason="anyio is not installed")
def test_it_works_with_anyio(tmp_path: Path) -> None:
    backend = "\n@pytest.fixture\ndef anyio_backend():\n    return 'asyncio'\n"
    test = TEST.format(fixture=FIXTURE + backend, mark="@pytest.mark.anyio")
    assert passed(tmp_path, test, "-p", "no:asyncio")


def test_without_an_app_it_says_what_to_write(tmp_path: Path) -> None:
    test = TEST.format(fixture="", mark="@pytest.mark.asyncio")
    ended = run(tmp_path, test, ini=STRICT)
    assert "Define the fixture `errands_app`" in ended.stdout


def test_without_a_plugin_for_async_tests_it_says_what_to_install(tmp_path: Path) -> None:
    plain = FIXTURE + "\ndef test_plain(harness): ...\n"
    test = TEST[: TEST.index("{fixture}")] + plain
    ended = run(tmp_path, test, "-p", "no:asyncio")
    assert "Install pytest-asyncio, or anyio" in ended.stdout


def test_pytest_starts_without_engine_and_store(tmp_path: Path) -> None:
    code = "import sys, errands.testing.plugin; print(*sys.modules)"
    command = [sys.executable, "-c", code]
    loaded = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    heavy = ("errands.engine", "errands.store", "errands.embedded", "sqlite3")
    assert [name for name in loaded if name.startswith(heavy)] == []
