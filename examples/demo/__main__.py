"""./script/demo: plays the story in a folder of its own, and ends all that it started."""

import asyncio
import os
import shutil
import signal
import sys
import tempfile
from datetime import timedelta
from pathlib import Path

from examples.demo.failure import DemoFailed
from examples.demo.processes import Process, Processes
from examples.demo.screen import Screen

FOLLOWUP_AFTER = timedelta(seconds=10)
"""What the demo makes of "3 days": long enough for the worker to die meanwhile."""
AT_MOST_SECONDS = 90
"""It takes about 20. With more than this the machine is too slow, or errands stands still."""


def main() -> int:
    """Gives the exit code."""
    # Whoever ends the demo ends it as Ctrl-C does, so that it can clean up.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    folder = Path(tempfile.mkdtemp(prefix="errands-demo-"))
    exit_code = 1
    with Screen() as screen:
        try:
            with Processes(folder) as processes:
                exit_code = play(screen, processes, folder)
        except KeyboardInterrupt:
            exit_code = 130
        finally:
            if exit_code:
                screen.say("demo", f"what it made is in {folder}")
            else:
                screen.say("demo", f"all of it in {screen.seconds():.1f} seconds", "bold")
                shutil.rmtree(folder)
    return exit_code


def play(screen: Screen, processes: Processes, folder: Path) -> int:
    """Play the story; gives the exit code."""
    exit_code = 0
    try:
        asyncio.run(_play(screen, processes, folder))
    except* DemoFailed as failed:
        exit_code = 1
        for failure in failed.exceptions:
            screen.say("demo", f"✗ {failure}", "bold red")
    return exit_code


async def _play(screen: Screen, processes: Processes, folder: Path) -> None:
    inbox = processes.start(
        "inbox",
        sys.executable,
        "-m",
        "examples.shop.inbox",
        "--folder",
        str(folder / "inbox"),
        "--port",
        "0",
    )
    os.environ["ERRANDS_URL"] = f"sqlite:///{folder / 'errands.db'}"
    os.environ["SHOP_DATA"] = str(folder)
    os.environ["SHOP_SMTP"] = await _address(inbox)
    os.environ["SHOP_FOLLOWUP_AFTER"] = f"{FOLLOWUP_AFTER.total_seconds():g}s"
    screen.say("inbox", f"a mail server listens on {os.environ['SHOP_SMTP']}")
    # Here and not above, because the shop reads its settings when it is imported.
    from examples.demo.story import Story

    try:
        async with asyncio.timeout(AT_MOST_SECONDS):
            await Story(screen, processes, folder, FOLLOWUP_AFTER).play()
    except TimeoutError as error:
        raise DemoFailed(f"not finished within {AT_MOST_SECONDS} seconds") from error


async def _address(inbox: Process) -> str:
    """Where it listens: the first line that it prints."""
    while not (words := inbox.last_words()):
        if inbox.exit_code is not None:
            raise DemoFailed(f"the inbox ended with {inbox.exit_code}")
        await asyncio.sleep(0.05)
    return words.splitlines()[0]


if __name__ == "__main__":
    sys.exit(main())
