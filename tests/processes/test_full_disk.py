"""No space left: doors say so, what executes reports again later, and nothing accepted is lost."""

import contextlib
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from errands.model.run import RunStatus
from tests.processes import ledger, trail
from tests.processes.children import Office, wait_until, works


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 48 MB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=48m", "none", str(folder)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("only root can mount a small file system")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def test_a_full_disk_refuses_sends_and_loses_nothing(small_disk: Path, tmp_path: Path) -> None:
    office = Office(small_disk)
    office.trail = tmp_path / "trail"
    office.environment["ERRANDS_TRAIL"] = str(office.trail)
    try:
        _fill_and_free(office, small_disk / "ballast")
    finally:
        office.close()


def _fill_and_free(office: Office, ballast: Path) -> None:
    worker = works(office.worker())
    sender = office.script("""
from errands import Unavailable
path = __import__("pathlib").Path(os.environ["ERRANDS_TRAIL"])
accepted = refused = 0
sync(slow.enqueue("it", 0.5))
while not trail.read(path, "space"):
    try:
        sync(echo.enqueue("x" * 2_000))
        accepted += 1
        time.sleep(0.01)
    except Unavailable:
        refused += 1
        trail.leave("refused")
        time.sleep(0.05)
sync(echo.enqueue("again"))
trail.leave("totals", accepted + 2, refused)
""")
    wait_until(lambda: len(trail.read(office.trail, "lingers")) == 2, "the second step executes")
    _fill(ballast)
    wait_until(lambda: trail.read(office.trail, "refused"), "a send was refused")
    ballast.unlink()
    with office.trail.open("a") as file:
        file.write(f"0 {sender.pid} space\n")

    assert sender.wait() == 0, "".join(sender.lines)
    wait_until(lambda: not ledger.unfinished(office.path), "all runs have ended")
    accepted = int(trail.read(office.trail, "totals")[0].words[1])
    statuses = [row.status for row in ledger.runs(office.path)]
    assert statuses == [RunStatus.COMPLETED] * accepted
    assert worker.terminate() == 0, "".join(worker.lines)
    assert ledger.is_sound(office.path)


def _fill(ballast: Path) -> None:
    with ballast.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(b"x" * 4096)
