"""What goes wrong, by chance: when a process dies, stops, or cannot write."""

from functools import partial
from typing import TYPE_CHECKING, Any

from errands.engine.decide import FOLLOW_UPS
from errands.engine.input import Input, TimerDue, WorkerLost
from errands.model.call import (
    Parked,
    RunFailed,
    RunReturned,
    StepFailed,
    StepReturned,
    StepSent,
    StepTaken,
)

if TYPE_CHECKING:
    from tests.simulation.process import Process
    from tests.simulation.simulate import Simulation

DOUBLED = (
    *FOLLOW_UPS,
    TimerDue,
    WorkerLost,
    StepReturned,
    StepFailed,
    StepSent,
    StepTaken,
    Parked,
    RunReturned,
    RunFailed,
)
CRASH_CHANCES = (0.0, 0.002, 0.01)
"""At each fault point; which of them, a simulation draws once."""


class Faults:
    """Asked by one process at each point where something could go wrong."""

    def __init__(self, process: "Process") -> None:
        self._process, self._world = process, process.world
        random = self._world.random
        self._crash = random.choice(CRASH_CHANCES)
        self._commit_fails = random.choice((0.0, 0.0, 0.01))
        self._double = random.choice((0.0, 0.02, 0.2))
        self._away_until = 0.0

    def is_store_away(self) -> bool:
        return self._world.is_faulty and self._world.time < self._away_until

    def leave_store_for(self, seconds: float) -> None:
        self._world.note(self._process, "has no store for", round(seconds, 3))
        self._away_until = self._world.time + seconds

    def fails_to_commit(self) -> bool:
        return self._happens(self._commit_fails)

    def crashes(self, when: str) -> bool:
        if self._happens(self._crash):
            self._process.crash(when)
            return True
        return not self._process.is_alive

    def _happens(self, chance: float) -> bool:
        return self._world.is_faulty and chance > 0 and self._world.random.random() < chance

    def doubles(self, given: Input) -> bool:
        return isinstance(given, DOUBLED) and self._happens(self._double)

    def maybe_double(self, tickets: Any) -> None:
        """An answer that comes twice says nothing new."""
        for ticket, answer, error in tickets:
            if self._happens(self._double):
                ticket.settle(answer, error)


def plan(simulation: "Simulation") -> None:
    """Faults at chosen moments, in advance."""
    world = simulation.world
    random = world.random
    for _ in range(random.randrange(10)):
        at = random.random() * simulation.busy_seconds
        world.at(at, partial(_happen, simulation, random.choice(KINDS)))


KINDS = ("crash", "crash", "leave", "stop", "store", "clock", "clock", "evict", "evict", "stuck")


def _happen(simulation: "Simulation", kind: str) -> None:
    world = simulation.world
    random = world.random
    alive = [process for process in world.processes if process.is_alive and process.is_open]
    if not world.is_faulty or not alive:
        return
    process = random.choice(alive)
    match kind:
        case "crash":
            process.crash("by chance")
        case "leave":
            process.loop.call_soon(process.leave)
        case "stop":
            process.stop_for(random.choice((0.5, 2.0, 5.0, 9.0)) * random.random())
        case "store":
            process.faults.leave_store_for(random.random() * 4)
        case "clock":
            world.jump(random.choice((-3_000, -200, 150, 2_000, 20_000, 3_600_000)))
        case "evict":
            process.loop.call_soon(process.evict)
        case _:
            process.loop.call_soon(lambda: process.block_for(random.random() * 8))
