"""`./script/demo` plays to its end, and leaves nothing behind, also when it is cut short."""

import os
import pty
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

ROOT = Path(__file__).parents[2]
DEMO = (sys.executable, "-m", "examples.demo")


def test_demo_sees_every_promise_kept(tmp_path: Path) -> None:
    demo = subprocess.run(
        DEMO,
        cwd=ROOT,
        env={**os.environ, "TMPDIR": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=110,
    )

    assert demo.returncode == 0, demo.stdout + demo.stderr
    told = demo.stdout
    assert 'the "3 days" are shortened to 10 seconds' in told
    assert "kill -9" in told
    assert "✓ exactly one welcome, one confirmation and one follow-up for ada@example.com" in told
    assert "✓ the order is paid, once" in told
    assert "✓ the invoice is a PDF with 1 page" in told
    assert "✓ 100,000 rows in the database, each once" in told
    assert "✓ 36 thumbnails and a cover" in told
    assert "✓ the report is a PDF with 9 pages" in told
    assert "no kept step executed again" in told
    assert "\x1b" not in told  # no colours: this is not a terminal
    assert list(tmp_path.iterdir()) == []


def test_on_a_terminal_the_shop_stays_open_until_ctrl_c(tmp_path: Path) -> None:
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        DEMO,
        cwd=ROOT,
        env={**os.environ, "TMPDIR": str(tmp_path), "TERM": "xterm", "COLUMNS": "200"},
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
    ) as demo:
        os.close(theirs)
        told = ""
        for line in lines_of(ours):
            told += line
            if "pictures  " in line and "camera" in line:
                break
        shop = re.search(r"the shop +(http://127\.0\.0\.1:\d+)/", told)
        assert shop is not None, told
        assert demo.poll() is None
        demo.send_signal(signal.SIGINT)
        rest = "".join(lines_of(ours))
    os.close(ours)

    assert demo.returncode == 0, rest
    assert list(tmp_path.iterdir()) == []


def lines_of(terminal: int) -> Iterator[str]:
    """What is written to it, until the other end is closed."""
    text = ""
    while True:
        try:
            data = os.read(terminal, 65_536)
        except OSError:  # how Linux says that nobody writes any more
            break
        if not data:
            break
        *lines, text = (text + data.decode(errors="replace")).split("\n")
        yield from (f"{line}\n" for line in lines)
    yield text


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_demo_leaves_no_process_behind(number: signal.Signals, tmp_path: Path) -> None:
    with subprocess.Popen(
        DEMO,
        cwd=ROOT,
        env={**os.environ, "TMPDIR": str(tmp_path)},
        stdout=subprocess.PIPE,
        text=True,
    ) as demo:
        assert demo.stdout is not None
        started = next(line for line in demo.stdout if "started: uvicorn" in line)
        theirs = psutil.Process(demo.pid).children(recursive=True)
        assert int(started.split()[-1]) in {process.pid for process in theirs}

        demo.send_signal(number)
        demo.stdout.read()

    _, alive = psutil.wait_procs(theirs, timeout=20)
    assert alive == []
