"""At rest: does the store agree with what really happened, and is nothing left over?"""

import sqlite3
from collections import Counter
from typing import TYPE_CHECKING, Any

import msgspec

from errands.model.function import EXTERNAL
from errands.model.ids import RunId
from errands.model.run import Moment, RunStatus
from errands.model.step import StepKind, StepStatus
from tests.simulation.doors import BROKEN, LOST
from tests.simulation.workload import STARTS

if TYPE_CHECKING:
    from tests.simulation.simulate import Simulation

LEFT_OVERS = ("item", "ready", "timer", "wait", "inbox")
_decode = msgspec.json.decode
FAILURES = ("Boom", "NonRetriableError", "StepError", "Crashed", LOST, BROKEN)
"""What runs of the workload may fail with."""


class Audit:
    def __init__(self, simulation: "Simulation") -> None:
        self.world, self.book, self.doors = simulation.world, simulation.book, simulation.doors
        self._processes = simulation.world.processes
        self._db = simulation.observer
        self.slugs = dict(self._all("SELECT id, slug FROM function ORDER BY id"))
        self.runs = self._all(
            "SELECT id, function, event, input, parent, parent_step FROM run ORDER BY id"
        )
        self.repetitions = {
            run for (run,) in self._all(f"SELECT run FROM history WHERE moment = {Moment.REPEATS}")
        }
        self.done = {r: (s, o) for r, s, o in self._all("SELECT run, status, output FROM done")}
        self.events = self._all("SELECT id, name, data, key FROM event ORDER BY id")
        self.steps = self._all(
            "SELECT run, id, kind, status, seq, output FROM step ORDER BY run, seq, id"
        )

    def _all(self, text: str) -> list[Any]:
        return self._db.execute(text).fetchall()

    def run(self) -> None:
        self._nothing_is_left()
        self._every_run_has_ended()
        self._what_was_sent_is_there()
        self._events_have_their_runs()
        self._cancelled_stay_cancelled()
        self._children_agree()
        self._failures_are_told()
        self._replays_saw_the_same()
        self._room_is_free()
        for wrong in self.doors.audit(self._db):
            self._broken(wrong)

    def _broken(self, what: str) -> None:
        self.world.violate(what)

    def _nothing_is_left(self) -> None:
        for table in LEFT_OVERS:
            if rows := self._all(f"SELECT * FROM {table} LIMIT 3"):
                self._broken(f"left in {table}: {rows}")
        for run, id, kind, status, seq, _ in self.steps:
            if status in (StepStatus.WAITING, StepStatus.RETRYING) or seq is None:
                self._broken(f"step {id} of {self.book.name(run)} is left open ({kind}, {status})")

    def _every_run_has_ended(self) -> None:
        for run, function, *_ in self.runs:
            if run not in self.done:
                self._broken(f"{self.book.name(run)} ({self.slugs[function]}) has no outcome")
        for run, done in self.book.done.items():
            is_removed = run in self.book.external and run not in self.done
            if not is_removed and self.done.get(run) != (int(done.status), done.output):
                self._broken(f"the outcome of {self.book.name(run)} was changed afterwards")
        slug_of = {run[0]: self.slugs[run[1]] for run in self.runs}
        for run, (status, output) in self.done.items():
            if status == RunStatus.FAILED and (name := _decode(output)["name"]) not in FAILURES:
                why = _decode(output)
                self._broken(f"{self.book.name(run)} ({slug_of.get(run)}) failed: {name} {why}")

    def _what_was_sent_is_there(self) -> None:
        found: Counter[tuple[str, str]] = Counter()
        for _, name, data, _ in self.events:
            found[name, _decode(data)["n"]] += 1
        for run, function, event, input, parent, _ in self.runs:
            is_sent = run not in self.repetitions and function != EXTERNAL
            if event is None and parent is None and is_sent:
                found["job/" + self.slugs[function], _decode(input)["n"]] += 1
        expected: dict[tuple[str, str], None] = {}
        for sending in self.book.sendings:
            counts = [found[one] for one in sending.what]
            expected.update(dict.fromkeys(sending.what))
            if sending.outcome == "accepted" and counts != [1] * len(counts):
                self._broken(f"{sending.what} was accepted, and is there {counts} times")
            if sending.key is None and sending.outcome == "refused" and any(counts):
                self._broken(f"{sending.what} was refused, and is there {counts} times")
            if len(set(counts)) > 1:
                self._broken(f"{sending.what} was sent together, and is there {counts} times")
            first = sending.first
            if first is not None and first.ids and sending.ids and first.ids != sending.ids:
                self._broken(f"{sending.what} was sent twice, as {first.ids} and {sending.ids}")
        kept = {(run, id): status for run, id, _, status, *_ in self.steps}
        for key, what in self.book.step_sendings.items():
            times = 1 if kept.get(key) == StepStatus.COMPLETED else 0
            expected.update(dict.fromkeys(what))
            counts = [found[one] for one in what]
            if counts != [times] * len(counts):
                where = f"step {key[1]} of {self.book.name(key[0])}"
                self._broken(f"{where} sent {what} {counts} times, not {times}")
        for one, count in found.items():
            if one not in expected or count > 1:
                self._broken(f"{one} is there {count} times; who sent it?")

    def _events_have_their_runs(self) -> None:
        started: dict[int, list[str]] = {}
        for run, function, event, _, parent, _ in self.runs:
            if event is not None and parent is None and run not in self.repetitions:
                started.setdefault(event, []).append(self.slugs[function])
        for id, name, data, _ in self.events:
            wanted = sorted(STARTS[name](_decode(data)))
            if sorted(started.get(id, [])) != wanted:
                self._broken(f"{name} {data!r} started {started.get(id)}, not {wanted}")

    def _cancelled_stay_cancelled(self) -> None:
        for run in self.book.cancelled:
            if self.done.get(run, (0,))[0] != RunStatus.CANCELLED:
                self._broken(f"{self.book.name(run)} was cancelled, and is {self.done.get(run)}")

    def _children_agree(self) -> None:
        children: dict[tuple[int, str], list[int]] = {}
        for run, _, _, _, parent, parent_step in self.runs:
            if parent_step is not None:
                children.setdefault((parent, parent_step), []).append(run)
        for run, id, kind, status, _, output in self.steps:
            if kind != StepKind.INVOKE:
                continue
            own = children.pop((run, id), [])
            where = f"step {id} of {self.book.name(run)}"
            if len(own) != 1:
                self._broken(f"{where} has {len(own)} children")
            elif status != StepStatus.ABANDONED:
                child = self.done.get(own[0])
                if child is None or (child[0] == RunStatus.COMPLETED) != (
                    status == StepStatus.COMPLETED
                ):
                    self._broken(f"{where} is {status}, its child {child}")
                elif status == StepStatus.COMPLETED and child[1] != output:
                    self._broken(f"{where} gave {output!r}, its child {child[1]!r}")
        for key in children:
            self._broken(f"a child of {key} without its step")

    def _failures_are_told(self) -> None:
        told = Counter(run[4] for run in self.runs if self.slugs[run[1]] == "failing/on_failure")
        for run, function, *_ in self.runs:
            if self.slugs[function] == "failing":
                status = self.done.get(run, (0,))[0]
                wanted = 1 if status == RunStatus.FAILED else 0
                if told[run] != wanted:
                    self._broken(f"{self.book.name(run)} ended {status}, told {told[run]} times")

    def _replays_saw_the_same(self) -> None:
        order: dict[RunId, list[str]] = {}
        for run, id, _, _, seq, _ in self.steps:
            if seq is not None and seq >= 0:
                order.setdefault(run, []).append(id)
        for run, lives in self.book.lives.items():
            if lives[0].durability == "run":
                continue
            longest = max((life.saw_ for life in lives), key=len)
            for life in lives:
                if longest[: len(life.saw_)] != life.saw_:
                    self._broken(f"{self.book.name(run)} saw {life.saw_}, and then {longest}")
            kept = order.get(run, [])
            seen = [id for id, _ in longest]
            if seen and kept[: len(seen)] != seen:
                self._broken(f"{self.book.name(run)} saw {seen}, the order kept is {kept}")

    def _room_is_free(self) -> None:
        alive = [id for (id,) in self._all("SELECT id FROM worker WHERE state = 1")]
        for process in self._processes:
            if process.is_alive and process.dispatcher is not None:
                if process.committer.here.worker not in alive:
                    self._broken(f"{process} is taken for dead, and goes on all the same")
                committer, runner = process.committer, process.dispatcher.runner
                if committer.leases or committer.here.room != process.concurrency:
                    self._broken(f"{process} has leases {committer.leases} at rest")
                # A parked session whose run went on elsewhere stays until it is the oldest.
                if runner.executing:
                    runs = [self.book.name(session.run) for session in runner.executing]
                    self._broken(f"{process} still executes {runs}")


def check_indexes(db: sqlite3.Connection) -> list[str]:
    """What must hold between any two commits: each index row says what the row behind it says."""
    wrong: list[str] = []
    for what, text in INDEXES.items():
        if rows := db.execute(text).fetchall():
            wrong.append(f"{what}: {rows[:3]}")
    return wrong


INDEXES = {
    "ready rows without such an item": """
        SELECT ready.run FROM ready LEFT JOIN item ON item.run = ready.run
        WHERE item.place IS NOT 1 OR item.position <> ready.position
        OR item.function <> ready.lane""",
    "ready items without a row": """
        SELECT item.run FROM item LEFT JOIN ready ON ready.run = item.run
        WHERE item.place = 1 AND ready.run IS NULL""",
    "items of runs that are over": "SELECT item.run FROM item JOIN done ON done.run = item.run",
    "runs with neither item nor outcome": """
        SELECT id FROM run WHERE id NOT IN (SELECT run FROM item)
        AND id NOT IN (SELECT run FROM done)
        AND id NOT IN (SELECT run.id FROM run, inbox)""",
    "open steps without a timer": """
        SELECT step.run, step.id FROM step WHERE step.status <= 1 AND step.due IS NOT NULL
        AND NOT EXISTS (SELECT 1 FROM timer WHERE timer.due = step.due AND timer.run = step.run
                        AND timer.kind = 1 AND timer.step = step.id)""",
    "timers without an open step": """
        SELECT timer.run, timer.step FROM timer LEFT JOIN step
        ON step.run = timer.run AND step.id = timer.step
        WHERE timer.kind = 1 AND (step.status > 1 OR step.due IS NOT timer.due)""",
    "waits without an open step": """
        SELECT wait.run, wait.step FROM wait LEFT JOIN step
        ON step.run = wait.run AND step.id = wait.step
        WHERE step.status IS NOT 0 OR step.match IS NOT wait.match""",
    "open event steps without a wait": """
        SELECT step.run, step.id FROM step WHERE step.kind IN (3, 6) AND step.status = 0
        AND NOT EXISTS (SELECT 1 FROM wait WHERE wait.run = step.run AND wait.step = step.id)""",
    "open steps of runs that are over": """
        SELECT step.run, step.id FROM step JOIN done ON done.run = step.run
        WHERE step.status <= 1 OR step.seq IS NULL""",
    "parked runs that nothing will wake": """
        SELECT item.run FROM item WHERE item.place = 4 AND item.due IS NULL
        AND (item.function <> 0 OR item.finish_by IS NULL)
        AND NOT EXISTS (SELECT 1 FROM step WHERE step.run = item.run AND step.kind <> 6
                        AND step.status <= 1 AND (step.due IS NOT NULL OR step.kind IN (3, 4)))""",
}
