"""Virtual time, and who runs next. All chance of a simulation comes from one seeded source here."""

import hashlib
import heapq
import random
import traceback
from asyncio import events
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tests.simulation.process import Process

START_MS = 1_900_000_000_000
"""The wall clock at the beginning."""
TICK = 0.00002
"""Virtual seconds that a pass of a loop takes."""
STEPS_MAX = 400_000
"""More passes than any simulation needs: it goes round in circles."""


class Violation(Exception):
    """A promise was broken."""


class World:
    """Moves time, runs processes, keeps the trace."""

    def __init__(self, seed: int, path: Path, trace: Callable[[str], None] | None = None) -> None:
        self.seed, self.path = seed, path
        self.random = random.Random(seed)
        self.time = 0.0
        self.processes: list[Process] = []
        self.violations: list[str] = []
        self.turned_back_at: list[float] = []
        """When the wall clock went backwards."""
        self.is_faulty = True
        """Faults may still happen."""
        self.nodes: dict[int, Process] = {}
        self.is_death_proven = self.random.random() < 0.5
        """Whether a crash is seen at once (a lock is gone), or only by silence."""
        self.step_failure = self.random.choice((0.02, 0.1, 0.4))
        """How often a step's function fails."""
        self.hint_loss = self.random.choice((0.0, 0.3, 1.0))
        self._late = self.random.choice((0.0, 0.003, 0.1))
        self._offset_ms = 0
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._count = self._passes = 0
        self._digest = hashlib.blake2b(digest_size=8)
        self._print = trace

    # -- time ----------------------------------------------------------------------------------

    def now(self) -> int:
        """The wall clock, Unix ms: is the Clock of all processes."""
        return START_MS + int(self.time * 1000) + self._offset_ms

    def jump(self, ms: int) -> None:
        """Somebody sets the clock."""
        self._offset_ms += ms
        if ms < 0:
            self.turned_back_at.append(self.time)
        self.note("clock", ms)

    def lateness(self) -> float:
        return self.random.random() * self._late if self._late else 0.0

    def at(self, when: float, call: Callable[[], None]) -> None:
        self._count += 1
        heapq.heappush(self._events, (when, self._count, call))

    def after(self, delay: float, call: Callable[[], None]) -> None:
        self.at(self.time + delay, call)

    # -- running -------------------------------------------------------------------------------

    def run(self, until: Callable[[], bool], deadline: float) -> bool:
        """Run until the condition holds (True) or virtual time is up (False)."""
        while self.time < deadline and not self.violations:
            if not self._advance(deadline):
                return until()
            if until():
                return True
        return until()

    def _advance(self, deadline: float) -> bool:
        alive = [p for p in self.processes if p.is_alive and not p.is_stopped]
        for process in alive:
            process.loop.ring()
        ready = [p for p in alive if p.loop.is_ready]
        event_due = bool(self._events) and self._events[0][0] <= self.time
        if not ready and not event_due:
            times = [at for p in alive if (at := p.loop.next_at()) is not None]
            if self._events:
                times.append(self._events[0][0])
            if not times:
                return False
            self.time = max(self.time, min(*times, deadline))
            return True
        self._passes += 1
        if self._passes > STEPS_MAX:
            self.violate("it goes round in circles")
        self.time += TICK
        choices = len(ready) + event_due
        chosen = self.random.randrange(choices) if choices > 1 else 0
        if chosen < len(ready):
            ready[chosen].loop.pass_once()
        else:
            heapq.heappop(self._events)[2]()
        return True

    # -- the trace -----------------------------------------------------------------------------

    def note(self, *what: Any) -> None:
        line = f"{self.time:11.5f} " + " ".join(map(str, what))
        self._digest.update(line.encode())
        if self._print is not None:
            self._print(line)

    @property
    def digest(self) -> str:
        return self._digest.hexdigest()

    def violate(self, what: str) -> None:
        self.note("VIOLATION", what)
        self.violations.append(what)

    def fault_found(self, what: str, error: BaseException | None = None) -> None:
        """Something of ours raised where nothing may."""
        stack = "".join(traceback.format_exception(error)) if error is not None else ""
        self.violate(f"{what}\n{stack}")


def outside_of_loops(call: Callable[[], Any]) -> Any:
    """As if in another thread: no loop runs there."""
    before = events._get_running_loop()
    events._set_running_loop(None)
    try:
        return call()
    finally:
        events._set_running_loop(before)
