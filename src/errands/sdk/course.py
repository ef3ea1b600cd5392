"""The course of a run: what is remembered, where its code stands, and what may happen next.

Code asks for steps; what is remembered is given to it in order, and only then does anything new
begin. When nothing but waits is left, the lease is given back. When code and memory do not fit, the
run fails, whatever its code might make of an exception.
"""

import asyncio
from collections.abc import Callable, Sequence
from typing import NoReturn

from msgspec.structs import replace

from errands.model.call import Call, Journal, StepTaken
from errands.model.errors import HistoryMismatch, StepError
from errands.model.step import UNORDERED, Step, StepKind, StepStatus
from errands.sdk.attempt import decode_failure
from errands.sdk.branches import Branches
from errands.sdk.lease import Holder, Lease
from errands.sdk.replay import Turns
from errands.sdk.threads import Suspend

STUCK_SECONDS = 10.0
"""How long a remembered result may wait for a branch to ask, while others stand and wait for it;
then the history is taken not to fit.
"""


class Course:
    def __init__(
        self,
        call: Call,
        journal: Journal,
        lease: Lease,
        branches: Branches,
        flush_notes: Callable[[], None],
        holder: Holder,
        *,
        can_stand: bool,
        saves_later: bool,
    ) -> None:
        self.run, self.journal, self.lease = call.run.id, journal, lease
        self.branches, self.flush_notes = branches, flush_notes
        self.can_stand = can_stand
        """Can its code stand still at a wait? A plain function's thread ends instead."""
        self.saves_later = saves_later
        """durability="run": results are kept at waits and at the end."""
        self.active = 0
        """Steps that execute, and reports on their way: while there are any, it is not parked."""
        self.opening = 0
        """Of these, waits that are being registered: nothing new begins before they stand."""
        self.known: dict[str, Step] = {}
        """What is remembered and not seen yet, and open waits."""
        self.waits: dict[str, None] = {}
        """Open waits that code stands at."""
        self.wakes: dict[str, asyncio.Future[None]] = {}
        """Steps that wait for their next attempt."""
        self._held: dict[str, asyncio.Future[None]] = {}
        """New steps, held until everything remembered has been seen."""
        self._main_key = ""
        """What the main branch asked for last."""
        self._holder = holder
        self._stuck: asyncio.TimerHandle | None = None
        self._public_id = journal.public_id
        self.loop = branches.loop
        self.turns = Turns(self.loop, self._remember(call.steps), self._when_quiet)
        self.turns.is_parallel = any(not step.main for step in call.steps)

    def end(self) -> None:
        if self._stuck is not None:
            self._stuck.cancel()
            self._stuck = None

    # -- what becomes known --------------------------------------------------------------------

    def _remember(self, steps: Sequence[Step]) -> list[str]:
        """Ids in the order in which results were seen; resolved waits not seen yet come last."""
        seen: list[Step] = []
        fresh: list[Step] = []
        for step in steps:
            if step.kind != StepKind.CANCEL:
                self.known[step.id] = step
                if not step.is_open and step.seq != UNORDERED:
                    (fresh if step.seq is None else seen).append(step)
        seen.sort(key=lambda step: step.seq or 0)
        if seen:
            self.lease.seq = max(self.lease.seq, (seen[-1].seq or 0) + 1)
        for step in fresh:
            self._take_note(step)
        return [step.id for step in (*seen, *fresh)]

    def _take_note(self, step: Step) -> None:
        """A wait was resolved while the run executes: this is its place in the order."""
        lease = self.lease
        lease.flush_saves()
        self.known[step.id] = replace(step, seq=lease.seq)
        self.journal.submit(StepTaken(self.run, lease.fence, step.id, lease.seq))
        lease.seq += 1

    def resume(self, fence: int, steps: Sequence[Step]) -> None:
        """The run is leased again, and these were resolved while it was not."""
        lease = self.lease
        for step in steps:
            if step.seq is not None and step.id in self.known and not step.is_open:
                lease.seq = max(lease.seq, step.seq + 1)
        lease.resume(fence)
        self.hear(steps)

    def hear(self, steps: Sequence[Step]) -> None:
        """Waits have been resolved; next attempts may begin."""
        for step in steps:
            known = self.known.get(step.id)
            if known is None or not known.is_open:
                continue
            if not step.is_open:
                if step.seq is None:
                    self._take_note(step)
                else:
                    self.known[step.id] = step
                self.turns.push(step.id)
            elif step.status == StepStatus.RETRYING and step.due is None:
                self.known[step.id] = step
                wake = self.wakes.get(step.id)
                if wake is not None and not wake.done():
                    wake.set_result(None)

    def look(self) -> None:
        """Something may have been resolved before anybody knew to listen."""
        self._holder.look()

    # -- what code asks ------------------------------------------------------------------------

    def number(self, id: str) -> tuple[str, bool]:
        """See `Branches.number`."""
        key, is_main = self.branches.number(id)
        if is_main:
            self._main_key = key
        return key, is_main

    async def hold(self, key: str) -> None:
        """A new step begins after everything remembered has been seen, and earlier waits stand."""
        while self.turns.is_replaying or self.opening:
            if self.turns.is_replaying and not self.turns.is_parallel:
                await self.mismatch(key)
            future = self._held[key] = self.loop.create_future()
            self.turns.stir()
            try:
                await future
            finally:
                self._held.pop(key, None)

    async def recall(self, key: str, kind: StepKind) -> bytes:
        """A remembered result, at its turn. Raises StepError."""
        step = self.known[key]
        if step.kind != kind:
            await self.mismatch(f"{key} ({kind.name.lower()})", f"{key} ({step.kind.name.lower()})")
        if step.status == StepStatus.ABANDONED:
            await self._hang(key)
        elif not self.turns.is_parallel and self.turns.is_replaying and self.turns.head != key:
            await self.mismatch(key)
        return await self.take(key)

    async def take(self, key: str) -> bytes:
        """The result of a step that is known, or will be, at its turn. Raises StepError."""
        await self.turns.take(key)
        step = self.known.pop(key)
        if step.status == StepStatus.FAILED:
            raise StepError(key, decode_failure(step.output or b"{}"))
        return step.output or b"null"

    async def _hang(self, key: str) -> NoReturn:
        """The code was cancelled while it stood here: so it will be again."""
        self.active += 1
        self.wakes[key] = self.loop.create_future()
        try:
            await self.wakes[key]
        finally:
            self.active -= 1
            del self.wakes[key]
        raise AssertionError("nobody resolves this")

    def gave_up(self, key: str, kind: StepKind, is_main: bool, attempt: int = 0) -> None:
        """The code was cancelled while it stood at this step: by a timeout of its own, by a group.

        It has seen no result, so no replay may: there the step hangs until it is cancelled again.
        """
        lease = self.lease
        self.turns.forget(key)
        known = self.known.pop(key, None)
        if lease.is_dead or lease.is_closed or lease.cancelled is not None:
            return
        if known is not None and known.status == StepStatus.ABANDONED:
            return
        lease.owe(Step(self.run, key, kind, StepStatus.ABANDONED, UNORDERED, attempt, is_main))
        self.turns.stir()

    # -- code and memory do not fit ------------------------------------------------------------

    async def mismatch(self, found: str, expected: str | None = None) -> NoReturn:
        self._give_up(found, expected)
        await self.lease.forever()

    def missing(self) -> HistoryMismatch | None:
        """At the end of the function: is there a remembered result that it has not asked for?"""
        missing = self.turns.unasked
        if missing is None:
            return None
        return HistoryMismatch(self._public_id(self.run), missing, "the end of the function")

    def _give_up(self, found: str, expected: str | None = None) -> None:
        expected = expected or self.turns.head or "?"
        self._holder.give_up(HistoryMismatch(self._public_id(self.run), expected, found))

    def _look_for_mismatch(self) -> None:
        """The loop is quiet, and nobody has asked for the next remembered result."""
        head = self.turns.head
        known = self.known.get(head) if head is not None else None
        if head is None or known is None:
            return
        main = self._main_key
        if known.main and main != head and self._stands(main):
            # The main branch is a sequence: it asked for this then, and stands elsewhere now.
            self._give_up(main)
        elif self._stuck is None:
            self._stuck = self.loop.call_later(STUCK_SECONDS, self._look_if_stuck, head)

    def _stands(self, key: str) -> bool:
        return any(key in at for at in (self.turns.asked, self._held, self.waits, self.wakes))

    def _look_if_stuck(self, head: str) -> None:
        self._stuck = None
        if self.lease.is_dead or self.turns.head != head or head in self.turns.asked:
            return
        standing = next(iter((*self._held, *self.turns.asked)), None)
        if standing is not None:
            self._give_up(standing)

    def suspend(self) -> NoReturn:
        """A plain function cannot stand at a wait."""
        self._holder.suspend()
        raise Suspend

    # -- when the loop is quiet ----------------------------------------------------------------

    def _when_quiet(self) -> None:
        lease = self.lease
        if lease.is_dead:
            return
        if lease.mistake is not None:
            if not self.active and (self.waits or self.wakes or self._held):
                self._holder.give_up(lease.mistake)
        elif self.turns.is_replaying:
            self._look_for_mismatch()
        elif self._held:
            if not self.opening:
                self._let_go()
        elif not self.active and (self.waits or self.wakes) and self.turns.head is None:
            lease.begin_to_park()

    def _let_go(self) -> None:
        """Nothing stands in the way of new steps any more."""
        for future in self._held.values():
            if not future.done():
                future.set_result(None)
