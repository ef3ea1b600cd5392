"""A session's hold on its run: kept while it executes, given back while it is parked, or lost.

Reports go out under the lease's fence; what they number comes from `seq`, the place of the next
result in the order in which the run sees them.
"""

import asyncio
from collections.abc import Awaitable
from typing import Any, NoReturn, Protocol

from errands.model.call import (
    KEPT,
    Call,
    Journal,
    Leased,
    Opened,
    Parked,
    Refused,
    Resumed,
    StepReturned,
)
from errands.model.errors import ErrandsError
from errands.model.step import Step
from errands.sdk.abandon import abandon_later


class Holder(Protocol):
    """The session, as its lease sees it."""

    def parked(self) -> None:
        """The lease has been given back; everything stands and waits."""
        ...

    def look(self) -> None:
        """Something was resolved that the session does not know of yet."""
        ...

    def lost(self, answer: object) -> None:
        """The lease is gone: somebody else executes the run, or it is over."""
        ...

    def suspend(self) -> None:
        """A plain function ends at its wait; it will be replayed."""
        ...

    def give_up(self, error: BaseException) -> None:
        """The run fails with this, whatever its code does."""
        ...


class Lease:
    __slots__ = (
        "_changing",
        "_holder",
        "_journal",
        "_owed",
        "cancelled",
        "fence",
        "is_closed",
        "is_dead",
        "is_out",
        "is_parked",
        "mistake",
        "run",
        "saves",
        "seq",
    )

    def __init__(self, call: Call, journal: Journal, holder: Holder) -> None:
        self.run = call.run.id
        self.fence = call.item.fence
        self.seq = call.item.seq
        self.saves: list[Step] = []
        """Results not reported yet, with durability="run"."""
        self.is_out = False
        """Some of the below: look before going on."""
        self.is_parked = False
        self.is_dead = False
        """Nothing that its code does counts any more, and nothing is answered."""
        self.is_closed = False
        """The same, but its end has yet to be reported."""
        self.cancelled: str | None = None
        """The run is over, for this reason; its code gets CancelledError."""
        self.mistake: BaseException | None = None
        """The run will fail with this; its code gets nothing done any more."""
        self._journal, self._holder = journal, holder
        self._owed: list[Step] = []
        """What has to be reported as soon as the lease is held again."""
        self._changing: asyncio.Task[None] | None = None
        """The lease is being given back, or taken."""

    # -- holding it ----------------------------------------------------------------------------

    async def again(self) -> None:
        """Go on only with the lease. Raises CancelledError when the run is over."""
        while self.is_out:
            if self.mistake is not None:
                self._holder.give_up(self.mistake)
            if self.is_dead or self.is_closed:
                await self.forever()
            if self.cancelled is not None:
                raise asyncio.CancelledError(self.cancelled)
            await self._change()

    async def regain(self) -> bool:
        """Hold the lease, to report how the run ended. False: it is gone."""
        while self.is_parked and not self.is_dead:
            await self._change()
        return not self.is_dead

    async def forever(self) -> NoReturn:
        """A dead session never answers: no exception, so none of the user's handlers run."""
        task = asyncio.current_task()
        assert task is not None
        loop = asyncio.get_running_loop()
        # Only once it stands here can it be let go.
        loop.call_soon(abandon_later, task)
        await loop.create_future()
        raise AssertionError("nobody resolves this")

    async def refused(self, answer: object) -> NoReturn:
        """A report was not kept: raises CancelledError if the run is over; else never returns."""
        self._holder.lost(answer)
        await self.again()
        await self.forever()

    def die(self) -> None:
        self.is_dead = self.is_out = True

    def close(self) -> None:
        self.is_closed = self.is_out = True

    def cancel(self, reason: str) -> None:
        self.cancelled, self.is_out = self.cancelled or reason, True

    def spoil(self, error: BaseException) -> BaseException:
        """A mistake in the code, which is told once; from now on it gets nothing done."""
        if self.mistake is None:
            self.mistake, self.is_out = error, True
        return error

    # -- what is held back ---------------------------------------------------------------------

    def take_saves(self) -> tuple[Step, ...]:
        saves, self.saves = tuple(self.saves), []
        return saves

    def flush_saves(self) -> None:
        """Report what was held back, before something that must not be kept without it."""
        if self.saves:
            *saves, last = self.take_saves()
            self._journal.submit(StepReturned(self.run, self.fence, last, tuple(saves)))

    def owe(self, step: Step) -> None:
        """Report this step now, or as soon as the lease is held again."""
        if self.is_parked:
            self._owed.append(step)
            if self._changing is None or self._changing.done():
                self._begin(self._resume())
        else:
            self._journal.submit(StepReturned(self.run, self.fence, step, self.take_saves()))

    def resume(self, fence: int) -> None:
        """It is held again, under this fence."""
        self.fence, self.is_parked = fence, False
        self.is_out = (
            self.is_dead or self.is_closed or self.cancelled is not None or self.mistake is not None
        )
        owed, self._owed = self._owed, []
        for step in owed:
            self.owe(step)

    # -- giving it back ------------------------------------------------------------------------

    def leave(self) -> None:
        """The lease has been offered back."""
        self.is_parked = self.is_out = True

    def stay(self) -> None:
        """The offer was not taken: it is held as before."""
        self.resume(self.fence)

    async def left(self, answer: Awaitable[Any]) -> object:
        """How an offer made with a wait was taken; gives the answer, or raises it."""
        fence = self.fence
        try:
            told = await answer
        except ErrandsError:
            self.stay()
            raise
        if not isinstance(told, Opened):
            self.stay()
        elif not told.parked:
            # Another wait is resolved already.
            self.stay()
            self._holder.look()
        elif self.fence == fence and self.is_parked:
            self._holder.parked()
        return told

    def left_later(self, answer: Awaitable[Any]) -> None:
        """The same, when whoever made the offer does not wait for the answer any more."""

        async def wait() -> None:
            try:
                told = await self.left(answer)
            except ErrandsError:
                return
            if isinstance(told, Refused):
                self._holder.lost(told)

        self._begin(wait())

    async def park(self) -> bool:
        """Give the lease back until a wait is resolved. False: one is already, or it is gone."""
        fence = self.fence
        self.leave()
        saves = self.take_saves()
        try:
            answer = await self._journal.submit(Parked(self.run, fence, self.seq, saves))
        except ErrandsError:
            self.stay()
            raise
        if answer is KEPT:
            if self.fence == fence and self.is_parked and not self.is_dead:
                self._holder.parked()
            return True
        self.stay()
        if isinstance(answer, Refused) and answer.reason == "not idle":
            self._holder.look()
        else:
            self._holder.lost(answer)
        return False

    def begin_to_park(self) -> None:
        """Nothing but waits is left."""
        if self._changing is None and not self.is_out:
            self._begin(self._park())

    async def _park(self) -> None:
        try:
            await self.park()
        except ErrandsError:
            # It stays where it is: a parked run saves memory, nothing else.
            return

    # -- taking it again -----------------------------------------------------------------------

    async def _change(self) -> None:
        """Let what is going on with the lease come to its end, or ask for it."""
        changing = self._changing
        if changing is None or changing.done():
            changing = self._begin(self._resume())
        # Not the asker's own: whoever is cancelled meanwhile must not take the answer along.
        await asyncio.shield(changing)

    async def _resume(self) -> None:
        """Something outside errands woke a parked run."""
        fence = self.fence
        answer = await self._journal.submit(Resumed(self.run, fence))
        # If a wait has woken it here in the meantime, that counts.
        if self.is_parked and self.fence == fence:
            if isinstance(answer, Leased):
                self.resume(answer.fence)
            else:
                self._holder.lost(answer)

    def _begin(self, change: Any) -> "asyncio.Task[None]":
        # Not by the loop's factory, which may be an eager one.
        task: asyncio.Task[None] = asyncio.Task(change, loop=asyncio.get_running_loop())
        self._changing = task
        task.add_done_callback(self._changed)
        return task

    def _changed(self, task: "asyncio.Task[None]") -> None:
        if self._changing is task:
            self._changing = None
        if not task.cancelled() and (error := task.exception()) is not None:
            # errands itself could not decide: whoever executes the run next goes on from the store.
            self._holder.lost(error)
        if self._owed and not self.is_dead and self.is_parked and self._changing is None:
            self._begin(self._resume())
