"""The sender: sends at random, again where it was not told the outcome, asks, and cancels."""

import asyncio
from typing import TYPE_CHECKING, Any

from errands.model.errors import ErrandsError, Unavailable
from tests.simulation import workload as w
from tests.simulation.book import Sending
from tests.simulation.process import Process

if TYPE_CHECKING:
    from tests.simulation.simulate import Simulation


class Traffic:
    """Survives the crashes of the process in which it runs: what is left is sent by the next."""

    def __init__(self, simulation: "Simulation") -> None:
        self.world, self.book, self.doors = simulation.world, simulation.book, simulation.doors
        self.left = self.world.random.randrange(4, 16)
        self._pause = simulation.busy_seconds / self.left
        self._count = 0
        # In some histories only: in the others there is more of all else, and so of what is rare.
        self._has_doors = simulation.world.seed % 4 == 3
        self._keyed: list[tuple[Sending, list[Any]]] = []

    async def run(self, process: Process) -> None:
        random = self.world.random
        while self.left > 0:
            await asyncio.sleep(random.random() * 2 * self._pause)
            self.left -= 1
            await self._act(process)
        process.world.note("traffic ends")

    async def _act(self, process: Process) -> None:
        random = self.world.random
        kind = random.randrange(14 if self._has_doors else 12)
        if kind == 0 and self._keyed:
            first, items = random.choice(self._keyed)
            await self._send(process, items, first.key, first)
        elif kind == 1:
            await self._cancel(process)
        elif kind == 2:
            size = random.randrange(1, 14)
            await self._send(process, [w.add.bind(self._number(), 1) for _ in range(size)])
        elif kind == 3:
            job = random.choice((w.report.bind(self._number(), 600), w.plain.bind(self._number())))
            await self._send(process, [job])
        elif kind == 4:
            await self._keyed_job(process)
        elif kind == 5:
            await self._ask(process)
        elif kind in (12, 13):
            await self.doors.act(process)
        else:
            events = [self._event() for _ in range(random.choice((1, 1, 1, 2, 4)))]
            if len(events) == 1 and random.random() < 0.4:
                self._count += 1
                key = f"key{self._count}"
                await self._send(process, [events[0].with_options(id=key)], key)
            else:
                await self._send(process, events)

    def _number(self) -> str:
        self._count += 1
        return f"n{self._count}"

    def _event(self) -> Any:
        random, n = self.world.random, self._number()
        size, key = random.randrange(1, 6), f"k{random.randrange(4)}"
        match random.randrange(9):
            case 0:
                return w.Order(n=n, size=size, key=key)
            case 1:
                return w.Race(n=n, size=size)
            case 2:
                return w.Rest(n=n, ms=random.choice((1, 200, 1_500, 4_000)))
            case 3:
                timeout = random.choice((50, 1_000, 4_000))
                style = random.randrange(2)
                return w.Wanted(n=n, key=key, least=size, timeout_ms=timeout, style=style)
            case 4:
                return w.Paid(n=n, key=key, amount=random.randrange(8))
            case 5:
                return w.Spread(n=n, size=size + 2)
            case 6:
                return w.Doomed(n=n, style=random.randrange(3))
            case 7:
                return w.Stop(n=n, key=key)
            case _:
                return w.Family(n=n, size=min(size, 3))

    async def _keyed_job(self, process: Process) -> None:
        n = self._number()
        options: dict[str, Any] = {"idempotency_key": f"job-{n}"}
        if self.world.random.random() < 0.5:
            options["delay"] = "1500ms"
        job = w.report.with_options(**options).bind(n, 100)
        await self._send(process, [job], f"job-{n}")

    async def _send(
        self, process: Process, items: list[Any], key: str | None = None, first: Any = None
    ) -> None:
        """All of it or nothing, and written down before and after."""
        what = [_what(item) for item in items]
        sending = Sending(what, key, first)
        self.book.sendings.append(sending)
        if key is not None and first is None:
            self._keyed.append((sending, items))
        self.world.note(process, "sends", *what, key or "")
        try:
            if what[0][0].startswith("job/"):
                sending.ids = [job.id for job in await w.app.enqueue_many(items)]
            else:
                sending.ids = await w.app.send(items)
        except Unavailable:
            sending.outcome = "refused"
        else:
            sending.outcome = "accepted"
        self.world.note(process, "is told", sending.outcome)

    def _accepted_jobs(self) -> list[tuple[str, str]]:
        return [
            (name, id)
            for sending in self.book.sendings
            for (name, _), id in zip(sending.what, sending.ids, strict=False)
            if name.startswith("job/")
        ]

    async def _cancel(self, process: Process) -> None:
        known = list(self.book.lives) or [self.book.run_of(id) for _, id in self._accepted_jobs()]
        if known:
            run = self.world.random.choice(known)
            self.world.note(process, "cancels", self.book.name(run))
            try:
                await process.cancel(process._public_id(run), "by chance")
            except Unavailable:
                self.world.note(process, "is told", "refused")

    async def _ask(self, process: Process) -> None:
        jobs = self._accepted_jobs()
        if jobs:
            _, id = self.world.random.choice(jobs)
            try:
                result = await w.app.jobs.result(id, timeout="2s")
                self.world.note(process, "asks", id, result)
            except ErrandsError as error:
                self.world.note(process, "asks", id, type(error).__name__)


def _what(item: Any) -> tuple[str, str]:
    if isinstance(item, w.Event):
        return item.envelope.name, item.n  # type: ignore[attr-defined]
    new = item._new
    return f"job/{new.function}", w.number_of(new.data)
