"""`python -m bench profile FIGURE`: where the time of one figure goes, thread by thread.

Sampled from outside with py-spy if it is installed, else measured inside with cProfile, which makes
small functions look dearer than they are. Then the committer's stages, in a run without a profiler.
"""

import argparse
import cProfile
import pstats
import re
import shutil
import subprocess
import sys
import tempfile
import threading
from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench.figures import FIGURES
from bench.measure import measure
from bench.stages import watched

TOP = 40
SAMPLES_PER_SECOND = 500
_PLACE = re.compile(r"[^ (]*/(?:site-packages|python3\.\d+|src)/")


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench profile")
    parser.add_argument("figure", choices=list(FIGURES))
    parser.add_argument("-n", type=int, help="jobs or runs; default: as in a quick run")
    parser.add_argument("--top", type=int, default=TOP)
    asked = parser.parse_args(arguments)
    n = asked.n or FIGURES[asked.figure].quick
    with tempfile.TemporaryDirectory(prefix="errands-bench-") as folder:
        prepared = Path(folder)
        if FIGURES[asked.figure].prepare is not None:
            measure(asked.figure, "prepare", n, prepared)
        if spy := shutil.which("py-spy"):
            _sampled(spy, asked.figure, n, prepared, asked.top)
        else:
            _traced(asked.figure, n, prepared, asked.top)
        with watched() as stages:
            value = measure(asked.figure, "errands", n, prepared)
    print(f"\n== the commit cycle ({asked.figure}: {value})\n{stages.table()}")
    return 0


# -- from outside ----------------------------------------------------------------------------------


def _sampled(spy: str, figure: str, n: int, prepared: Path, top: int) -> None:
    """Who holds the GIL, and where."""
    with tempfile.NamedTemporaryFile(suffix=".folded") as file:
        subprocess.run(
            [spy, "record", "--gil", "--threads", "--nonblocking", "--format", "raw",
             "--rate", str(SAMPLES_PER_SECOND), "--output", file.name, "--",
             sys.executable, "-m", "bench.measure", figure, "errands", str(n), str(prepared)],
            check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        print(shares(Path(file.name).read_text(), top))


def shares(folded: str, top: int) -> str:
    """Own time by thread, of stacks as py-spy writes them: `thread;frame;frame count`."""
    own: dict[str, Counter[str]] = defaultdict(Counter)
    for line in folded.splitlines():
        stack, _, count = line.rpartition(" ")
        thread, *frames = stack.split(";")
        if frames and "importlib" not in stack:
            last = re.sub(r":\d+\)$", ")", _PLACE.sub("", frames[-1]))
            own[re.sub(r"^thread \(\w+\): ", "", thread)][last] += int(count)
    total = sum(counter.total() for counter in own.values())
    lines: list[str] = []
    for thread, counter in sorted(own.items(), key=lambda one: -one[1].total()):
        lines.append(f"\n== {thread}: {counter.total() / total:.0%} of the time")
        lines += [f"{n / total:7.1%}  {frame}" for frame, n in counter.most_common(top)]
    return "\n".join(lines)


# -- from inside -----------------------------------------------------------------------------------


def _traced(figure: str, n: int, prepared: Path, top: int) -> None:
    """Each thread begins its own profile at its first call; they are read when all is over."""
    profiles: dict[str, cProfile.Profile] = {}

    def begin(*_: Any) -> None:
        profile = profiles[threading.current_thread().name] = cProfile.Profile()
        profile.enable()

    threading.setprofile(begin)
    begin()
    try:
        measure(figure, "errands", n, prepared)
    finally:
        threading.setprofile(None)  # type: ignore[arg-type] # pyright: ignore
        profiles[threading.current_thread().name].disable()
    for thread, profile in profiles.items():
        print(f"\n== {thread}")
        pstats.Stats(profile).strip_dirs().sort_stats("tottime").print_stats(top)
