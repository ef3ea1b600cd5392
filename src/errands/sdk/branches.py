"""Which branch of a run asks for a step: its main task, another task, or a thread of plain code.

Within a branch code is a sequence, so a step's id may repeat there, and is numbered. Between
branches order is not certain, so there it may not.
"""

import asyncio
import concurrent.futures
import contextvars
import threading
import unicodedata
from collections.abc import Callable, Coroutine
from typing import Any

from errands.model.errors import DuplicateStep, InvalidConfig, NestedStep
from errands.model.step import RESERVED
from errands.sdk.abandon import abandon, can_be_abandoned, context_of
from errands.sdk.context import BRANCH, SESSION, STEP
from errands.sdk.threads import Suspend

MAIN = 0
ID_LENGTH_MAX = 512
_UNFIT = ("Cc", "Cs")
"""Categories of characters that no id may have."""


class Branches:
    """The tasks of a run."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        loop_thread: int,
        spoil: Callable[[BaseException], BaseException],
        found_another: Callable[[], None],
    ) -> None:
        self.main: asyncio.Task[None] | None = None
        self.thread: object = object()
        """BRANCH of a plain function's own thread: for it, that is the main branch."""
        self._thread_id = loop_thread
        self.loop, self._spoil, self._found_another = loop, spoil, found_another
        self._tasks: dict[asyncio.Task[Any], int] = {}
        """Further tasks that have asked for steps."""
        self._threads: dict[object, int] = {self.thread: MAIN}
        self._carried: dict[asyncio.Task[Any], concurrent.futures.Future[Any]] = {}
        """Tasks that do something for a thread, which waits."""
        self._last = MAIN
        self._asked: dict[str, tuple[int, int]] = {}
        """Of each id: the branch that asks for it, and how often it has."""
        self._is_over = False

    # -- ids -----------------------------------------------------------------------------------

    def number(self, id: str) -> tuple[str, bool]:
        """The step's key, and whether the main branch asks. Raises DuplicateStep, NestedStep,
        InvalidConfig.
        """
        outer = STEP.get()
        if outer is not None:
            raise self._spoil(NestedStep(id, outer[0]))
        # With its loop named, asyncio does not ask the system for the process id. Of another
        # thread's
        # loop it knows no task of ours.
        is_here = threading.get_ident() == self._thread_id
        task = asyncio.current_task(self.loop) if is_here else None
        branch = MAIN if task is self.main and task is not None else self._branch_of(task)
        asked = self._asked.get(id)
        if asked is None:
            self._check_id(id)
            if ":" in id:
                self._check_number(id)
            self._asked[id] = (branch, 1)
            return id, branch == MAIN
        first, count = asked
        if first != branch:
            raise self._spoil(DuplicateStep(id))
        self._asked[id] = (branch, count + 1)
        key = f"{id}:{count}"
        if key in self._asked:
            raise self._spoil(DuplicateStep(key))
        return key, branch == MAIN

    def _check_id(self, id: object) -> None:
        if not isinstance(id, str):
            why = "it is no string"
        elif not 0 < len(id) <= ID_LENGTH_MAX:
            why = f"it has {len(id):,} characters" if id else "it is empty"
        elif not id.isprintable() and any(unicodedata.category(c) in _UNFIT for c in id):
            why = "it has a control character, or half a surrogate pair"
        elif id.startswith(RESERVED):
            why = f"{RESERVED!r} begins those of errands"
        else:
            return
        raise self._spoil(
            InvalidConfig(
                f"The step id {id!r:.80} is refused: {why}.",
                hint=f"An id is 1 to {ID_LENGTH_MAX} characters of plain text, "
                'e.g. "charge" or f"charge-{order_id}".',
            )
        )

    def _check_number(self, id: str) -> None:
        """A step that is called what another one is numbered would share what is remembered."""
        base, _, number = id.rpartition(":")
        if number.isdigit() and int(number) < self._asked.get(base, (MAIN, 0))[1]:
            raise self._spoil(DuplicateStep(id))

    def _branch_of(self, task: "asyncio.Task[Any] | None") -> int:
        if task is None or asyncio.get_running_loop() is not self.loop:
            raise RuntimeError(
                "The steps of a run belong to the event loop that executes it. From a loop of your "
                "own in a thread they cannot be awaited; use sync(step.…) there, without a loop."
            )
        token = BRANCH.get() if task in self._carried else None
        branch = self._tasks.get(task) if token is None else self._threads.get(token)
        if branch is None:
            self._last += 1
            branch = self._last
            if token is None:
                self._tasks[task] = branch
                task.add_done_callback(self._forget)
            else:
                self._threads[token] = branch
        if branch != MAIN:
            self._found_another()
        return branch

    def _forget(self, task: "asyncio.Task[Any]") -> None:
        self._tasks.pop(task, None)

    # -- threads -------------------------------------------------------------------------------

    def carry(
        self,
        call: Coroutine[Any, Any, Any],
        context: contextvars.Context,
        done: "concurrent.futures.Future[Any]",
    ) -> None:
        """Do this for a thread, which waits for `done`."""
        if self._is_over:
            call.close()
            done.set_exception(Suspend())
            return

        async def carry() -> None:
            try:
                result = await call
            except BaseException as error:  # Suspend and cancellation too: the thread has to end
                if not done.done():
                    done.set_exception(error)
            else:
                if not done.done():
                    done.set_result(result)

        task = asyncio.Task(carry(), loop=self.loop, context=context)
        self._carried[task] = done
        task.add_done_callback(lambda task: self._carried.pop(task, None))

    # -- letting go ----------------------------------------------------------------------------

    @property
    def _all(self) -> "list[asyncio.Task[Any]]":
        main = () if self.main is None else (self.main,)
        return [*main, *self._tasks, *self._carried]

    def can_be_dropped(self) -> bool:
        """Without running any of its code: a thread that waits could not be left waiting."""
        return not self._carried and can_be_abandoned(self._all, self._is_ours())

    def drop(self) -> None:
        """None of its code goes on."""
        self._is_over = True
        current = asyncio.current_task()
        # The one that runs now comes to its next step, and is let go there.
        others = [task for task in self._all if task is not current]
        if others:
            abandon(others, self._is_ours(current))
        for done in list(self._carried.values()):
            if not done.done():
                done.set_exception(Suspend())
        self.main = None
        self._tasks, self._carried = {}, {}

    def _is_ours(
        self, current: "asyncio.Task[Any] | None" = None
    ) -> "Callable[[asyncio.Task[Any]], bool]":
        mine = None if self.main is None else context_of(self.main)
        session = None if mine is None else mine.get(SESSION)

        def is_ours(task: "asyncio.Task[Any]") -> bool:
            if task is current or session is None:
                return False
            context = context_of(task)
            return context is not None and context.get(SESSION) is session

        return is_ours
