"""What a test asks about a run. Each property looks at the store as it is now."""

from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any, Generic, Literal, TypeVar

import msgspec

from errands.model.ids import RunId
from errands.model.run import Failure, LogLine
from errands.model.step import Step, StepKind, StepStatus
from errands.sdk.codec import Codec
from errands.sdk.event import from_unix_ms
from errands.store.interface import Reader, RunRow
from errands.testing.steps import StepRules
from errands.testing.tape import Tape, when

R_co = TypeVar("R_co", covariant=True)

_failure = msgspec.json.Decoder(Failure).decode
_decode = msgspec.json.decode
LINES_MAX = 1_000_000
WAITS = (StepKind.SLEEP, StepKind.EVENT, StepKind.INVOKE)


class RecordedStep(msgspec.Struct, frozen=True):
    """One step of a run: executed, sent, or a wait that is over."""

    id: str
    attempts: int
    """How often it has been executed."""
    result: Any
    """As plain JSON; None until it has succeeded."""
    error: str | None
    """ "CardDeclined: no funds"; of a step that will be tried again, that of its last attempt."""
    finished_at: datetime | None
    """None: not yet."""


class Sources:
    """Where it is known from, as long as the harness is open."""

    def __init__(
        self, reader: Reader, public_id: Callable[[int], str], tape: Tape, rules: StepRules
    ) -> None:
        self.public_id, self.tape, self.rules = public_id, tape, rules
        self._reader: Reader | None = reader

    @property
    def reader(self) -> Reader:
        if self._reader is None:
            raise RuntimeError("The harness is closed: ask about runs inside its `async with`.")
        return self._reader

    @property
    def is_open(self) -> bool:
        return self._reader is not None

    def close(self) -> None:
        self._reader = None


class RecordedRun(Generic[R_co]):
    """One run of a function or job."""

    def __init__(self, sources: Sources, run: RunId, codec_of: Callable[[], Codec[R_co]]) -> None:
        self._sources, self._run, self._codec_of = sources, run, codec_of

    @property
    def _row(self) -> RunRow:
        row = self._sources.reader.run(self._run)
        assert row is not None, f"run {self.id} is not in the store any more"
        return row

    @property
    def id(self) -> str:
        return self._sources.public_id(self._run)

    @property
    def status(self) -> Literal["pending", "processing", "completed", "failed"]:
        return self._row.status

    @property
    def result(self) -> R_co:
        """Of a completed run; otherwise AssertionError that says where the run is."""
        row = self._row
        if row.status != "completed":
            raise AssertionError(f"{described(self._sources, row)}; it has no result.")
        return self._codec_of().decode(row.output or b"null")

    @property
    def error(self) -> str | None:
        """ "CardDeclined: no funds"; of a cancelled run "cancelled: reason"."""
        return error_of(self._row)

    @property
    def steps(self) -> dict[str, RecordedStep]:
        """By id, in order of start. Waits come in when they are over."""
        steps = [step for step in self._sources.reader.steps(self._run) if _is_shown(step)]
        steps.sort(key=lambda step: self._sources.tape.place(self._run, step.id))
        return {step.id: _recorded(step) for step in steps}

    @property
    def waiting_for(self) -> str | None:
        """In words, e.g. "sleep 'wait-for-followup' until 2026-01-04T00:00:00Z".

        None: for nothing, it executes or has ended.
        """
        return "; ".join(waits_of(self._sources, self._row)) or None

    @property
    def logs(self) -> list[LogLine]:
        """What the run's code has logged, with level, step and attempt."""
        return self._sources.reader.logs(self._run, 0, LINES_MAX)

    def __repr__(self) -> str:
        if not self._sources.is_open:
            return f"<Run {self.id} of a closed harness>"
        return f"<{described(self._sources, self._row)}>"


def described(sources: Sources, row: RunRow) -> str:
    """Where the run is, as the start of a sentence."""
    name = f"Run {sources.public_id(row.id)} of {row.function.config.slug!r}"
    error = error_of(row)
    if error is not None:
        return f"{name} was {error}" if row.is_cancelled else f"{name} has failed: {error}"
    if row.status == "completed":
        return f"{name} is completed"
    waits = list(waits_of(sources, row))
    if waits:
        return f"{name} is {row.status}: it waits for {'; '.join(waits)}"
    executing = list(_executing(sources, row))
    if executing:
        return f"{name} is {row.status}: it executes {', '.join(executing)}"
    return f"{name} is {row.status}"


def _executing(sources: Sources, row: RunRow) -> Iterator[str]:
    for one in sources.rules.executing.values():
        if one.run == row.id:
            yield f"step {one.step!r} (attempt {one.attempt + 1}){one.place}"


def error_of(row: RunRow) -> str | None:
    if row.status != "failed":
        return None
    if row.is_cancelled:
        reason = _decode(row.output or b'""', type=str)
        return f"cancelled: {reason}" if reason else "cancelled"
    return _line(row.output)


def _line(output: bytes | None) -> str:
    failure = _failure(output or b'{"name":"Error","message":""}')
    return f"{failure.name}: {failure.message}" if failure.message else failure.name


def _is_shown(step: Step) -> bool:
    return step.kind != StepKind.CANCEL and not (step.kind in WAITS and step.is_open)


def _recorded(step: Step) -> RecordedStep:
    is_done = step.status in (StepStatus.COMPLETED, StepStatus.FAILED)
    failed = step.output if step.status in (StepStatus.FAILED, StepStatus.RETRYING) else None
    return RecordedStep(
        id=step.id,
        # The row of a step that is to be tried again names the attempt that comes.
        attempts=step.attempt if step.status == StepStatus.RETRYING else step.attempt + 1,
        result=_decode(step.output or b"null") if step.status == StepStatus.COMPLETED else None,
        error=None if failed is None else _line(failed),
        finished_at=from_unix_ms(step.at) if is_done else None,
    )


# -- in words ----------------------------------------------------------------------------------


def waits_of(sources: Sources, row: RunRow) -> Iterator[str]:
    """All that this run waits for, if it has not ended."""
    if row.ended_at is not None:
        return
    if row.due is not None and row.is_parked:
        yield f"{_what_is_due(row)} at {when(row.due)}"
    for step in sources.reader.steps(row.id):
        if step.is_open and step.kind != StepKind.CANCEL:
            yield _wait(sources, step)


def _what_is_due(row: RunRow) -> str:
    return f"its attempt {row.attempt + 1}" if row.attempt else "its start"


def _wait(sources: Sources, step: Step) -> str:
    until = "" if step.due is None else f" until {when(step.due)}"
    asked = sources.tape.wait(step.run, step.id)
    if step.status == StepStatus.RETRYING:
        at = "" if step.due is None else f" at {when(step.due)}"
        return f"attempt {step.attempt + 1} of step {step.id!r}{at}, after {_line(step.output)}"
    if step.kind == StepKind.SLEEP:
        return f"sleep {step.id!r}{until}"
    if step.kind == StepKind.EVENT:
        name = f" {asked.shape.event!r}" if asked is not None and asked.shape is not None else ""
        return f"event{name} (wait {step.id!r}){until}"
    name = f" {asked.child.function!r}" if asked is not None and asked.child is not None else ""
    return f"the end of{name or ' another run'} (invoke {step.id!r})"
