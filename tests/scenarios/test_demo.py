"""`./script/demo` plays to its end, and leaves nothing behind when it is cut short."""

import os
import signal
import subprocess
import sys
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
    assert "✓ exactly one welcome and one follow-up for ada@example.com" in told
    assert "✓ 100,000 rows in the database, each once" in told
    assert "✓ 36 thumbnails and a cover" in told
    assert "no kept step executed again" in told
    assert "\x1b" not in told  # no colours: this is not a terminal
    assert list(tmp_path.iterdir()) == []


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
        started = next(line for line in demo.stdout if "started: errands worker" in line)
        theirs = psutil.Process(demo.pid).children(recursive=True)
        assert int(started.split()[-1]) in {process.pid for process in theirs}

        demo.send_signal(number)
        demo.stdout.read()

    _, alive = psutil.wait_procs(theirs, timeout=20)
    assert alive == []
