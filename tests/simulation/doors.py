"""External jobs and repetitions, asked for at random, and what must have come of them."""

import sqlite3
from typing import TYPE_CHECKING, Any

import msgspec

from errands.model.errors import ErrandsError, JobIsOver, JobNotFound, NotRepeatable, Unavailable
from errands.model.ids import RunId
from errands.model.run import Moment, RunStatus
from tests.simulation import workload as w
from tests.simulation.process import Process

if TYPE_CHECKING:
    from tests.simulation.book import Book
    from tests.simulation.world import World

LOST = "NotUpdated"
BROKEN = "it broke"
NOT_TWICE = "spreading"
"""What this sends would be there twice."""


class Doors:
    def __init__(self, world: "World", book: "Book") -> None:
        self.world, self.book = world, book
        self._jobs: dict[str, None] = {}
        self._ended: list[tuple[str, tuple[RunStatus, Any]]] = []
        """Id and outcome of each update that was accepted and final."""
        self._repeated: list[tuple[RunId, RunId]] = []
        """The run, and the new one that was told."""
        self._asked = 0

    # -- asking --------------------------------------------------------------------------------

    async def act(self, process: Process) -> None:
        random = self.world.random
        if random.random() < 0.3:
            await self._rerun(process)
        elif not self._jobs or random.random() < 0.4:
            id = f"job{random.randrange(6)}"
            keep = random.choice(("2s", "5s"))
            if await self._told(process, "creates", id, w.app.jobs.create(id, keep=keep)):
                self._jobs[id] = None
        else:
            await self._update(process, random.choice(list(self._jobs)))

    async def _update(self, process: Process, id: str) -> None:
        self._asked += 1
        n = self._asked
        match self.world.random.randrange(4):
            case 0:
                update, end = w.app.jobs.update(id, result=n), (RunStatus.COMPLETED, n)
            case 1:
                update, end = w.app.jobs.update(id, error=BROKEN), (RunStatus.FAILED, BROKEN)
            case _:
                update, end = w.app.jobs.update(id, status="processing", progress=n), None
        is_kept = await self._told(process, "updates", id, update)
        if is_kept and end is not None:
            self._ended.append((id, end))

    async def _rerun(self, process: Process) -> None:
        runs = list(self.book.lives)
        if not runs:
            return
        run = self.world.random.choice(runs)
        row = process.store.reader.run(run)
        if row is None or row.function.config.slug == NOT_TWICE:
            return
        asked = process.rerun(process._public_id(run))
        again = await self._told(process, "repeats", self.book.name(run), asked)
        if again is not None:
            self._repeated.append((run, self.book.run_of(again)))

    async def _told(self, process: Process, what: str, id: str, asked: Any) -> Any:
        """What was answered; None: it was refused."""
        self.world.note(process, what, id)
        try:
            answer = await asked
        except (Unavailable, JobIsOver, JobNotFound, NotRepeatable) as error:
            self.world.note(process, "is told", type(error).__name__)
            return None
        except ErrandsError as error:
            self.world.violate(f"{what} {id}: {error}")
            return None
        self.world.note(process, "is told", "accepted")
        return answer

    # -- at rest -------------------------------------------------------------------------------

    def audit(self, db: sqlite3.Connection) -> list[str]:
        return [*self._wrong_jobs(), *self._wrong_repetitions(db)]

    def _wrong_jobs(self) -> list[str]:
        """By what was committed: the store may have removed it since, which these jobs ask for."""
        wrong: list[str] = []
        ends: dict[str, list[tuple[RunStatus, Any]]] = {}
        for run, id in self.book.external.items():
            done = self.book.done.get(run)
            if done is None or done.worker is not None:
                wrong.append(f"external job {id} was executed, or has no outcome")
                continue
            output = msgspec.json.decode(done.output)
            told = output if done.status == RunStatus.COMPLETED else output["name"]
            ends.setdefault(id, []).append((done.status, told))
        for id, end in self._ended:
            if end not in ends.get(id, ()):
                wrong.append(f"external job {id} was told {end}, and is {ends.get(id)}")
        return wrong

    def _wrong_repetitions(self, db: sqlite3.Connection) -> list[str]:
        wrong: list[str] = []
        given = {
            row[0]: row[1:]
            for row in db.execute("SELECT id, function, event, input, retries FROM run")
        }
        repeats = sorted(self._lines(db, Moment.REPEATS))
        repeated = sorted((other, run) for run, other in self._lines(db, Moment.REPEATED))
        if repeats != repeated:
            wrong.append(f"histories of repetitions disagree: {repeats}, {repeated}")
        for run, again in self._repeated:
            if (again, run) not in repeats or given.get(again) != given[run]:
                wrong.append(f"{self.book.name(again)} does not repeat {self.book.name(run)}")
        return wrong

    def _lines(self, db: sqlite3.Connection, moment: Moment) -> list[tuple[int, int]]:
        """Whose history tells of which other run."""
        found = db.execute("SELECT run, data FROM history WHERE moment = ?", (int(moment),))
        return [(run, self.book.run_of(msgspec.json.decode(data)["run"])) for run, data in found]
