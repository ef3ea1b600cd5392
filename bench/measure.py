"""One measurement, in a process of its own: nothing of it is left in the next.

`python -m bench.measure FIGURE errands|floor|prepare N FOLDER` prints the value as JSON.
FOLDER holds what the figure's `prepare` made.
"""

import json
import sys
import tempfile
from pathlib import Path

import uvloop

from bench.figures import FIGURES
from errands.worker import collect_rarely


def measure(name: str, side: str, n: int, prepared: Path) -> object:
    figure = FIGURES[name]
    if side == "prepare":
        assert figure.prepare is not None
        return uvloop.run(figure.prepare(prepared, n))
    with tempfile.TemporaryDirectory(prefix="errands-bench-") as folder:
        if side == "floor":
            assert figure.floor is not None
            return uvloop.run(figure.floor(Path(folder), n))
        # What is measured is a worker process, which fits its garbage collector to its work.
        collect_rarely()
        more = (prepared,) if figure.prepare is not None else ()
        return uvloop.run(figure.measure(Path(folder), n, *more))


if __name__ == "__main__":
    print(json.dumps(measure(sys.argv[1], sys.argv[2], int(sys.argv[3]), Path(sys.argv[4]))))
