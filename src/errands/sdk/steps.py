"""Steps that execute: once, until a result is kept; tried again when they fail."""

import asyncio
from collections.abc import Callable
from typing import Any, TypeVar

from msgspec.structs import replace

from errands.model.call import KEPT, Retry, StepFailed, StepReturned
from errands.model.errors import ErrandsError, StepError
from errands.model.run import Failure
from errands.model.step import Step, StepKind, StepStatus
from errands.sdk.attempt import judge
from errands.sdk.calling import Calls
from errands.sdk.codec import Codec
from errands.sdk.context import STEP
from errands.sdk.course import Course
from errands.sdk.options import Retries
from errands.sdk.threads import is_async

T = TypeVar("T")


async def run_step(
    course: Course,
    calls: Calls,
    id: str,
    function: Callable[..., Any],
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    codec: Codec[T],
    retries: Retries,
    timeout_ms: int | None,
    bytes_max: int,
) -> T:
    """The remembered result, or that of executing it now. Raises StepError."""
    lease = course.lease
    if lease.is_out:
        await lease.again()
    key, is_main = course.number(id)
    attempt = 0
    try:
        known = course.known.get(key)
        if known is not None and not (known.is_open and known.kind == StepKind.RUN):
            return codec.decode(await course.recall(key, StepKind.RUN))
        if course.turns.is_replaying or course.opening:
            await course.hold(key)
        if known is not None:
            attempt = known.attempt
            await _until_next_attempt(course, known)
        while True:
            if lease.is_out:
                await lease.again()
            started_at = course.journal.now()
            course.active += 1
            token = STEP.set((key, attempt))
            try:
                if calls.is_plain and timeout_ms is None and is_async(function):
                    value = await function(*args, **kwargs)
                else:
                    value = await calls.step(key, attempt, function, args, kwargs, timeout_ms)
                output, value = codec.store(value, f"the result of step {key!r}", bytes_max)
            except (Exception, SystemExit) as raised:
                error: BaseException = raised
            except asyncio.CancelledError as raised:
                if _is_cancelled():
                    raise
                # Not the step was cancelled, but something that its function waited for.
                error = raised
            else:
                step = Step(
                    course.run, key, StepKind.RUN, StepStatus.COMPLETED, None, attempt, is_main,
                    started_at, output=output,
                )  # fmt: skip
                await _keep(course, step)
                return value
            finally:
                STEP.reset(token)
                course.active -= 1
            if isinstance(error, ErrandsError) and error.fails_run_at_once:
                raise lease.spoil(error)
            step = Step(
                course.run, key, StepKind.RUN, StepStatus.COMPLETED, None, attempt, is_main,
                started_at,
            )  # fmt: skip
            failure = await _keep_failure(course, step, error, retries)
            if failure is not None:
                break
            attempt += 1
    except asyncio.CancelledError:
        course.gave_up(key, StepKind.RUN, is_main, attempt)
        raise
    # Not `from error`: a replay does not have it, and shows nothing else than the first time.
    raise StepError(key, failure)


def _is_cancelled() -> bool:
    task = asyncio.current_task()
    return task is None or task.cancelling() > 0


async def _keep(course: Course, step: Step) -> None:
    """Make a result durable, and wait for its turn."""
    lease, turns = course.lease, course.turns
    if lease.is_out:
        await lease.again()
    step = replace(step, seq=lease.seq)
    lease.seq += 1
    turns.reserve(step.id)
    if course.saves_later:
        lease.saves.append(step)
    else:
        course.flush_notes()
        try:
            answer = await course.journal.submit(StepReturned(course.run, lease.fence, step))
        except ErrandsError:
            turns.forget(step.id)
            raise
        if answer is not KEPT:
            await lease.refused(answer)
    turns.settle(step.id)
    if not turns.take_now(step.id):
        await turns.take(step.id)


async def _keep_failure(
    course: Course, step: Step, error: BaseException, retries: Retries
) -> Failure | None:
    """Make it durable that an attempt has failed; None when the next one may begin."""
    lease, turns = course.lease, course.turns
    if lease.is_out:
        await lease.again()
    failure, encoded, told = judge(error, step.attempt, retries, course.journal)
    course.flush_notes()
    step = replace(step, seq=lease.seq)
    lease.seq += 1
    turns.reserve(step.id)
    course.active += 1
    try:
        answer = await course.journal.submit(
            StepFailed(course.run, lease.fence, step, encoded, told, lease.take_saves())
        )
    except ErrandsError:
        turns.forget(step.id)
        raise
    finally:
        course.active -= 1
    if isinstance(answer, Retry):
        turns.forget(step.id)
        waiting = replace(
            step, status=StepStatus.RETRYING, seq=None, due=answer.due, attempt=step.attempt + 1
        )
        course.known[step.id] = waiting
        if answer.due <= course.journal.now():
            # Its time may have come before this was known here.
            course.look()
        await _until_next_attempt(course, waiting)
        return None
    if answer is not KEPT:
        await lease.refused(answer)
    turns.settle(step.id)
    if not turns.take_now(step.id):
        await turns.take(step.id)
    return failure


async def _until_next_attempt(course: Course, step: Step) -> None:
    """Wait until its time has come, as the engine says."""
    key = step.id
    if step.due is not None:
        if not course.can_stand and await course.lease.park():
            course.suspend()
        wake = course.wakes[key] = course.loop.create_future()
        course.turns.stir()
        try:
            await wake
        finally:
            course.wakes.pop(key, None)
    course.known.pop(key, None)
