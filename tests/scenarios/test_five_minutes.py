"""The first five minutes of somebody who tries errands: from a built wheel, in an empty
environment, install, `init`, `dev`, `send`, a finished run. Each time is printed (`pytest -s`).

The figures that we promise are in BUDGET; what is asserted leaves room for a busy machine.
"""

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from tests.server.children import ROOT, Running, environment

BUDGET = {
    "install, beyond downloads": (10.0, "s"),
    "start to first finished run": (5.0, "s"),
    "idle server and worker": (80.0, "MiB"),
}
ROOM = 4
"""Times may be so many times their budget while other tests run beside this one."""
PIP = ("-m", "pip", "-q", "--disable-pip-version-check")
CONSTRAINTS = ("-c", str(ROOT / "requirements" / "run.txt"))


class Figures:
    def __init__(self) -> None:
        self.found: dict[str, float] = {}

    @contextmanager
    def timed(self, name: str) -> Iterator[None]:
        began = time.monotonic()
        yield
        self.tell(name, time.monotonic() - began, "s")

    def tell(self, name: str, value: float, unit: str) -> None:
        self.found[name] = value
        budget = f"   budget {BUDGET[name][0]:g} {BUDGET[name][1]}" if name in BUDGET else ""
        print(f"{name:<28} {value:6.1f} {unit}{budget}")


def python(executable: Path | str, *arguments: str, folder: Path = ROOT) -> str:
    done = subprocess.run(
        [str(executable), *arguments],
        cwd=folder,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def wheel_of(folder: Path) -> str:
    python(
        sys.executable,
        *PIP,
        "wheel",
        "--no-deps",
        "--no-build-isolation",
        "-w",
        str(folder),
        str(ROOT),
    )
    (wheel,) = folder.glob("errands-*.whl")
    return str(wheel)


def installed(tmp_path: Path, figures: Figures) -> Path:
    """Python of an environment that has nothing but errands and what it needs."""
    with figures.timed("build the wheel"):
        wheel = wheel_of(tmp_path / "dist")
    wheels = tmp_path / "wheels"
    with figures.timed("downloads"):
        try:
            python(sys.executable, *PIP, "download", "-d", str(wheels), *CONSTRAINTS, wheel)
        except AssertionError as error:
            pytest.skip(f"there is no package index: {error}")
    with figures.timed("make the environment"):
        python(sys.executable, "-m", "venv", str(tmp_path / "venv"))
    mine = tmp_path / "venv" / "bin" / "python"
    with figures.timed("install, beyond downloads"):
        python(
            mine, *PIP, "install", "--no-index", "--find-links", str(wheels), *CONSTRAINTS, wheel
        )
    return mine


def resident_mib(process: psutil.Process) -> float:
    return process.memory_info().rss / 2**20


@pytest.mark.timeout(600)
def test_from_nothing_to_a_finished_run(tmp_path: Path) -> None:
    figures = Figures()
    print()
    mine = installed(tmp_path, figures)
    errands = mine.with_name("errands")
    project = tmp_path / "project"
    project.mkdir()

    with figures.timed("errands init"):
        python(errands, "init", folder=project)
    (written,) = project.glob("*.py")

    with figures.timed("start to first finished run"):
        began = time.monotonic()
        command = ["dev", f"{written.stem}:app", "--port", "0"]
        server = Running(command, project, executable=str(errands))
        try:
            server.wait_said("Ctrl-C")
            figures.tell("of it, until it is ready", time.monotonic() - began, "s")
            python(errands, "send", "hello", "name=Ada", "--store", server.url(), folder=project)
            server.wait_said(r"completed +\d")
        except BaseException:
            server.close()
            raise
    try:
        supervisor = psutil.Process(server.process.pid)
        (child,) = supervisor.children()
        figures.tell("idle server and worker", resident_mib(child), "MiB")
        figures.tell("what watches the files", resident_mib(supervisor), "MiB")
        assert server.stop() == 0
    finally:
        server.close()

    for name, (budget, unit) in BUDGET.items():
        room = ROOM if unit == "s" else 1
        assert figures.found[name] <= budget * room, f"{name}: {figures.found[name]:.1f} {unit}"
