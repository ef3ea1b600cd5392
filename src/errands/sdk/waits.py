"""Durable waits, and what a run sends: registered once, with an answer that replays give again."""

import asyncio
from collections.abc import Callable
from typing import Any, TypeVar

import msgspec

from errands.model.call import Opened, Refused, StepSent, WaitOpened
from errands.model.errors import ErrandsError
from errands.model.event import NewEvent
from errands.model.job import NewJob
from errands.model.step import ShapeOf, Step, StepKind, StepStatus
from errands.sdk.codec import Codec
from errands.sdk.course import Course
from errands.telemetry import spans

T = TypeVar("T")
_ids = msgspec.json.Decoder(list[str]).decode


async def wait(
    course: Course,
    id: str,
    kind: StepKind,
    codec: Codec[T],
    *,
    duration_ms: int | None = None,
    until: int | None = None,
    shape: Callable[[], ShapeOf] | None = None,
    child: Callable[[], NewJob] | None = None,
) -> T:
    """Wait for time, an event, or the end of another run. Raises StepError."""
    lease = course.lease
    if lease.is_out:
        await lease.again()
    key, is_main = course.number(id)
    try:
        known = course.known.get(key)
        if known is not None and not (known.is_open and known.kind == kind):
            return codec.decode(await course.recall(key, kind))
        if known is None:
            if course.turns.is_replaying or course.opening:
                await course.hold(key)
            if lease.is_out:
                await lease.again()
            step = Step(
                course.run, key, kind, StepStatus.WAITING, None, 0, is_main, course.journal.now()
            )
            await _open(
                course,
                WaitOpened(
                    course.run,
                    lease.fence,
                    step,
                    duration_ms,
                    until,
                    None if shape is None else shape(),
                    None if child is None else _traced(child()),
                ),
            )
        return codec.decode(await _stand(course, key))
    except asyncio.CancelledError:
        course.gave_up(key, kind, is_main)
        raise


def _traced(child: NewJob) -> NewJob:
    trace = spans.current_trace()
    return child if trace is None else msgspec.structs.replace(child, trace=trace)


async def _stand(course: Course, key: str) -> bytes:
    """Stand at an open wait until it is resolved, and its turn has come."""
    course.waits[key] = None
    try:
        if not course.can_stand and key not in course.turns and await course.lease.park():
            course.suspend()
        return await course.take(key)
    finally:
        course.waits.pop(key, None)


async def _open(course: Course, report: WaitOpened) -> None:
    """Register a wait; give the lease back in the same breath, if nothing else goes on."""
    lease, key = course.lease, report.step.id
    is_alone = not (course.active or course.turns.is_parallel or course.waits or course.wakes)
    park = is_alone or not course.can_stand
    course.flush_notes()
    report = msgspec.structs.replace(report, park=park, seq=lease.seq, saves=lease.take_saves())
    course.known[key] = report.step
    if park:
        lease.leave()
    # What is asked for after a wait must not happen before it: a step in another branch holds on.
    course.active += 1
    course.opening += 1
    answer = course.journal.submit(report)
    try:
        told: Any = await (lease.left(answer) if park else answer)
    except asyncio.CancelledError:
        if park:
            # It is being given back all the same.
            lease.left_later(answer)
        raise
    except ErrandsError:
        del course.known[key]
        raise
    finally:
        course.active -= 1
        course.opening -= 1
        if not course.opening:
            course.turns.stir()
    if not isinstance(told, Opened):
        await lease.refused(told)
    if told.parked and not course.can_stand:
        course.suspend()


async def send(course: Course, id: str, items: tuple[NewEvent | NewJob, ...]) -> list[str]:
    """Send events or enqueue jobs, once; gives their ids."""
    lease, turns = course.lease, course.turns
    if lease.is_out:
        await lease.again()
    key, is_main = course.number(id)
    try:
        if key in course.known:
            return _ids(await course.recall(key, StepKind.SEND))
        if turns.is_replaying or course.opening:
            await course.hold(key)
        if lease.is_out:
            await lease.again()
        step = Step(
            course.run, key, StepKind.SEND, StepStatus.COMPLETED, lease.seq, 0, is_main,
            course.journal.now(),
        )  # fmt: skip
        lease.seq += 1
        course.flush_notes()
        turns.reserve(key)
        course.active += 1
        try:
            ids = await spans.sent(
                items,
                lambda items: course.journal.submit(
                    StepSent(course.run, lease.fence, step, tuple(items), lease.take_saves())
                ),
            )
        except ErrandsError:
            turns.forget(key)
            raise
        finally:
            course.active -= 1
        if isinstance(ids, Refused):
            await lease.refused(ids)
        turns.settle(key)
        if not turns.take_now(key):
            await turns.take(key)
        return list(ids)
    except asyncio.CancelledError:
        course.gave_up(key, StepKind.SEND, is_main)
        raise
