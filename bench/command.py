"""`python -m bench`: which figures, how often, and where the answer goes."""

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import psutil

from bench import report
from bench.figures import FIGURES, Figure

TIMEOUT_SECONDS = 600
ROOT = Path(__file__).parents[1]
IN_MEMORY = ("tmpfs", "ramfs")


def main(arguments: Sequence[str] | None = None) -> int:
    given = list(sys.argv[1:] if arguments is None else arguments)
    if given[:1] == ["profile"]:
        from bench import profile

        return profile.main(given[1:])
    asked = _parser().parse_args(given)
    chosen = [f for f in FIGURES.values() if _is_chosen(f.name, asked.groups)]
    if not chosen:
        print(f"No figure is called {' '.join(asked.groups)}. There are: {', '.join(FIGURES)}.")
        return 2
    if (found_in := file_system(Path(tempfile.gettempdir()))) in IN_MEMORY:
        print(f"{tempfile.gettempdir()} is {found_in}, no disk. Name a folder on one: TMPDIR=…")
        return 2
    found: dict[str, Any] = {}
    failed: list[str] = []
    for figure in chosen:
        n = asked.n or (figure.quick if asked.quick else figure.n)
        try:
            found[figure.name] = _figure(
                figure, n, asked.runs or (3 if asked.quick else figure.runs)
            )
        except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
            failed.append(f"{figure.name} could not be measured: {error}")
    if asked.json is not None:
        asked.json.write_text(json.dumps({"figures": found}, indent=2) + "\n")
    print("\n".join([report.table(found), *failed]))
    return 1 if failed else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="./script/bench",
        description="Measure errands on this machine, each figure beside its floor.",
        epilog="`./script/bench profile FIGURE` shows where the time goes.",
    )
    parser.add_argument("groups", nargs="*", metavar="GROUP", help="sqlite, timers …, or a figure")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there")
    parser.add_argument("--quick", action="store_true", help="a first impression")
    parser.add_argument("--runs", type=int, help="of each; default 3 to 11, as a figure needs")
    parser.add_argument("-n", type=int, help=argparse.SUPPRESS)
    return parser


def _is_chosen(name: str, groups: Sequence[str]) -> bool:
    return not groups or name in groups or name.partition(".")[0] in groups


def _figure(figure: Figure, n: int, runs: int) -> dict[str, Any]:
    """Floor and errands by turns: what disturbs the machine disturbs both."""
    values: list[Any] = []
    floors: list[Any] = []
    with tempfile.TemporaryDirectory(prefix="errands-bench-") as prepared:
        if figure.prepare is not None:
            _tell(f"{figure.name}: preparing {n:,}")
            run(figure.name, "prepare", n, prepared)
        for k in range(runs):
            _tell(f"{figure.name}: {k + 1} of {runs}")
            if figure.floor is not None:
                floors.append(run(figure.name, "floor", n, prepared))
            values.append(run(figure.name, "errands", n, prepared))
    _tell("")
    return report.summary(figure, values, floors)


def run(name: str, side: str, n: int, prepared: str) -> Any:
    """One measurement in its own process."""
    done = subprocess.run(
        [sys.executable, "-m", "bench.measure", name, side, str(n), prepared],
        stdout=subprocess.PIPE,
        timeout=TIMEOUT_SECONDS,
        cwd=ROOT,
        check=True,
    )
    return json.loads(done.stdout)


def file_system(folder: Path) -> str:
    """What it is on: ext4, tmpfs …"""
    mounts = psutil.disk_partitions(all=True)
    over = [mount for mount in mounts if folder.resolve().is_relative_to(mount.mountpoint)]
    return max(over, key=lambda mount: len(mount.mountpoint)).fstype if over else ""


def _tell(what: str) -> None:
    if sys.stderr.isatty():
        print(f"\r\033[K{what}", end="", file=sys.stderr, flush=True)
