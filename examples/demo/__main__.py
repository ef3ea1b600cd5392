"""./script/demo: plays the story in a folder of its own, and ends all that it started.

On a terminal the shop stays open after it, until Ctrl-C.
"""

import asyncio
import os
import secrets
import shutil
import signal
import sys
import tempfile
from datetime import timedelta
from pathlib import Path

from examples.demo.customer import Customer
from examples.demo.failure import DemoFailed
from examples.demo.processes import Processes
from examples.demo.runs import Operator
from examples.demo.screen import Screen
from examples.demo.shop import Shop, free_port

FOLLOWUP_AFTER = timedelta(seconds=10)
"""What the demo makes of "3 days": long enough for the shop to die meanwhile."""
AT_MOST_SECONDS = 90
"""It takes about 25. With more than this the machine is too slow, or errands stands still."""


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
    port = free_port()
    os.environ |= {
        "ERRANDS_API_TOKEN": secrets.token_urlsafe(),
        "ERRANDS_URL": f"sqlite:///{folder / 'errands.db'}",
        "SHOP_DATA": str(folder),
        "SHOP_URL": f"http://127.0.0.1:{port}",
        "SHOP_SMTP": await _open_inbox(screen, processes, folder / "inbox"),
        "SHOP_FOLLOWUP_AFTER": f"{FOLLOWUP_AFTER.total_seconds():g}s",
        "INTERNAL_API_KEY": secrets.token_urlsafe(),
    }
    # Here and not above, because the shop reads its settings when it is imported.
    from examples.demo.story import Story

    url, token = os.environ["SHOP_URL"], os.environ["ERRANDS_API_TOKEN"]
    async with Customer(url) as customer, Operator(url, token) as operator:
        shop = Shop(screen, processes, customer, port)
        story = Story(screen, shop, customer, operator, folder, FOLLOWUP_AFTER)
        try:
            async with asyncio.timeout(AT_MOST_SECONDS):
                await story.play()
        except TimeoutError as error:
            raise DemoFailed(f"not finished within {AT_MOST_SECONDS} seconds") from error
        screen.say("demo", f"all of it in {screen.seconds():.1f} seconds", "bold")
        if screen.is_watched:
            interrupted = _hear_interrupts()
            story.tell_where_to_look()
            await interrupted.wait()
        await shop.close()


def _hear_interrupts() -> asyncio.Event:
    """From now on Ctrl-C is how the audience leaves, and no failure."""
    interrupted = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, interrupted.set)
    return interrupted


async def _open_inbox(screen: Screen, processes: Processes, folder: Path) -> str:
    """Start the mail server; gives its address: the first line that it prints."""
    command = ("examples.shop.inbox", "--folder", str(folder), "--port", "0")
    inbox = processes.start("inbox", sys.executable, "-m", *command)
    while not (words := inbox.last_words()):
        if inbox.exit_code is not None:
            raise DemoFailed(f"the inbox ended with {inbox.exit_code}")
        await asyncio.sleep(0.05)
    address = words.splitlines()[0]
    screen.say("inbox", f"a mail server listens on {address}")
    return address


if __name__ == "__main__":
    sys.exit(main())
