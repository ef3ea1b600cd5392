"""The shop's process: opened, killed, closed; and what is wrong when it ends by itself."""

import asyncio
import os
import signal
import socket
import sys

from examples.demo.customer import Customer
from examples.demo.failure import DemoFailed
from examples.demo.processes import Process, Processes
from examples.demo.screen import Screen


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Shop:
    def __init__(self, screen: Screen, processes: Processes, customer: Customer, port: int) -> None:
        self._screen, self._processes, self._customer = screen, processes, customer
        self._command = ("uvicorn", "examples.shop.web:api", "--port", str(port))
        self._process: Process | None = None
        """The one that should be alive now."""

    async def open(self) -> None:
        """Returns when it answers."""
        self._process = self._processes.start("shop", sys.executable, "-m", *self._command)
        told = f"started: {' '.join(self._command)}, process {self._process.pid}"
        self._screen.say("shop", told)
        await self._customer.wait_until_open()

    def kill(self) -> None:
        process = self._take()
        self._processes.kill(process)
        self._screen.say("shop", f"kill -9 {process.pid}: it is dead", "bold red")

    async def close(self) -> None:
        process = self._take()
        exit_code = await self._processes.stop(process)
        # uvicorn closes down in good order, and then ends by the signal that asked for it.
        if exit_code not in (os.EX_OK, -signal.SIGTERM):
            said = process.last_words()
            raise DemoFailed(f"the shop ended with {exit_code} at SIGTERM:\n{said}")
        self._screen.say("shop", f"stopped process {process.pid}, in good order")

    async def mind(self) -> None:
        """Raises DemoFailed when it ends by itself."""
        while True:
            process = self._process
            if process is not None and process.exit_code is not None:
                said = process.last_words()
                raise DemoFailed(f"the shop ended by itself with {process.exit_code}:\n{said}")
            await asyncio.sleep(0.2)

    def _take(self) -> Process:
        process, self._process = self._process, None
        assert process is not None
        return process
