"""Processes take turns: whoever has just written stands behind who came meanwhile."""

import subprocess
import sys
from pathlib import Path

from errands.store.sqlite.turnstile import NEXT, turnstile

COMES_NEXT = """
import sys
from pathlib import Path
from errands.store.sqlite.turnstile import turnstile

database, mark = map(Path, sys.argv[1:])
mine = turnstile(database)
print("here", flush=True)
for n in range(3):
    mine.enter()
    mark.write_text(str(n))
    mine.leave()
    if sys.stdin.readline() != "again\\n":
        break
"""


def test_two_processes_alternate(tmp_path: Path) -> None:
    database, mark = tmp_path / "errands.db", tmp_path / "mark"
    mine = turnstile(database)
    mine.enter()
    other = subprocess.Popen(
        [sys.executable, "-c", COMES_NEXT, str(database), str(mark)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert other.stdout is not None
    assert other.stdin is not None
    assert other.stdout.readline() == "here\n"

    for turn in range(3):
        # The other one waits for us to leave; it holds the place of who comes next.
        while mine.pid_at(NEXT) != other.pid:
            assert other.poll() is None
        mine.leave()
        mine.enter()
        # However quick we were: it had its turn in between.
        assert mark.read_text() == str(turn)
        if turn < 2:
            other.stdin.write("again\n")
            other.stdin.flush()

    mine.leave()
    other.communicate("enough\n")
    assert other.returncode == 0


def test_a_turn_ends_with_the_process_that_had_it(tmp_path: Path) -> None:
    database = tmp_path / "errands.db"
    code = (
        "import sys; from pathlib import Path\n"
        "from errands.store.sqlite.turnstile import turnstile\n"
        "turnstile(Path(sys.argv[1])).enter(); print('in', flush=True); sys.stdin.read()"
    )
    other = subprocess.Popen(
        [sys.executable, "-c", code, str(database)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert other.stdout is not None
    assert other.stdout.readline() == "in\n"

    other.kill()
    other.communicate()

    mine = turnstile(database)
    mine.enter()
    mine.leave()
