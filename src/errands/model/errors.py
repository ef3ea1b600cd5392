"""What can go wrong, as a user meets it. Users raise the first two, errands the others."""

from collections.abc import Sequence
from typing import Any, ClassVar

from errands.model.run import Failure


class NonRetriableError(Exception):
    """Raise it: do not try again."""


class ErrandsError(Exception):
    """Base of all errors that errands raises. `str()` says what happened, why, and what to do."""

    code: ClassVar[str] = "error"
    """Stable, for programs."""
    retryable: ClassVar[bool] = False
    """Whether the same call may succeed later."""
    fails_run_at_once: ClassVar[bool] = False
    """Raised inside a run: a mistake in the code, which no further attempt can cure."""
    hint: str
    """The next move; empty if there is none."""

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.args[0]} {self.hint}" if self.hint else str(self.args[0])

    def __reduce__(self) -> tuple[Any, ...]:
        # The default calls the class with `args`, which the subclasses below do not take; an error
        # that cannot be unpickled would hang a process pool.
        return _restore, (type(self), self.args, self.__dict__)


def _restore(
    kind: type[ErrandsError], args: tuple[Any, ...], state: dict[str, Any]
) -> ErrandsError:
    error = kind.__new__(kind, *args)
    error.args = args
    error.__dict__.update(state)
    return error


class _OfFailure(ErrandsError):
    """An error that stands for another one, of which only the names, message and stack are kept."""

    failure: Failure

    @property
    def name(self) -> str:
        """Class name of the original error."""
        return self.failure.name

    @property
    def message(self) -> str:
        return self.failure.message

    @property
    def stack(self) -> str:
        return self.failure.stack

    def was(self, error: type[BaseException]) -> bool:
        """Was the original an instance of this class? On replay too, when only names are kept."""
        return was(self.failure, error)


def was(failure: Failure, error: type[BaseException]) -> bool:
    """Whether what failed was an instance of this class, by the class names that were kept."""
    return error.__name__ == failure.name or error.__name__ in failure.bases


# -- declaring and sending -------------------------------------------------------------------------


class InvalidConfig(ErrandsError, ValueError):
    """At import: a function, job, key or option that cannot be.

    Names the field and the allowed range.
    """

    code, fails_run_at_once = "invalid_config", True


class EventRefused(ErrandsError, ValueError):
    """At send: unknown field, wrong type, too large, no name. Nothing of the call was accepted."""

    code = "event_refused"


class ArgumentsRefused(ErrandsError, TypeError):
    """At enqueue, bind or invoke: arguments that the job's signature does not take, or not with the
    type that it says.

    Nothing was accepted.
    """

    code, fails_run_at_once = "arguments_refused", True


class ValueNotStorable(ErrandsError, TypeError):
    """A result or argument that cannot be stored and read back as the annotated type."""

    code, fails_run_at_once = "value_not_storable", True


class ValueTooLarge(ErrandsError, ValueError):
    """A result or argument above the limit."""

    code, fails_run_at_once = "value_too_large", True

    def __init__(self, field: str, size: int, limit: int) -> None:
        super().__init__(
            f"{_start(field)} is {size:,} bytes as JSON; the limit is {limit:,}.",
            hint="Keep it where it belongs (a file, an object store, your database) and pass its "
            "key.",
        )
        self.field, self.size, self.limit = field, size, limit


class Unavailable(ErrandsError, ConnectionError):
    """errands cannot be reached, or is full; nothing was accepted."""

    code, retryable = "unavailable", True


class StoreError(ErrandsError):
    """The store cannot be used as it is."""

    code = "store_error"


class MigrationNeeded(StoreError):
    """The store's schema is older than this release."""

    code = "migration_needed"


class FunctionNotFound(ErrandsError, LookupError):
    """No function with this id is registered."""

    code = "function_not_found"

    def __init__(self, function_id: str, known: Sequence[str] = ()) -> None:
        names = f" There are: {', '.join(sorted(known)[:10])}." if known else ""
        super().__init__(
            f"No function {function_id!r} is registered.{names}",
            hint='Check the id ("app/function"), and that the app which declares it has '
            "connected once.",
        )
        self.function_id = function_id


# -- inside a run ----------------------------------------------------------------------------------


class NotInRun(ErrandsError, RuntimeError):
    """step.sleep, step.wait_for_event, step.invoke or current_run() outside a run."""

    code = "not_in_run"

    def __init__(self, what: str) -> None:
        super().__init__(
            f"{what} works only inside a run.",
            hint="Send the event or enqueue the job; in a test, use errands.testing.Harness.",
        )
        self.what = what


class StepError(_OfFailure):
    """Inside a function: a step failed for good. The same on first execution and on replay."""

    code = "step_failed"

    def __init__(self, step_id: str, failure: Failure) -> None:
        super().__init__(f"Step {step_id!r} failed: {_line(failure)}")
        self.step_id, self.failure = step_id, failure


class DuplicateStep(ErrandsError):
    """One step id in two parallel branches.

    In a loop an id may repeat; it is numbered: fetch, fetch:1, fetch:2.
    """

    code, fails_run_at_once = "duplicate_step", True

    def __init__(self, step_id: str) -> None:
        super().__init__(
            f"Step id {step_id!r} is used in two parallel branches, whose order is not certain.",
            hint=f'Give each branch its own, e.g. f"{step_id}-{{item}}", or use step.map. '
            "(On Python 3.11 asyncio.wait_for makes a branch: use asyncio.timeout, or "
            "with_options(timeout=…).)",
        )
        self.step_id = step_id


class NestedStep(ErrandsError):
    """A step inside a step."""

    code, fails_run_at_once = "nested_step", True

    def __init__(self, step_id: str, outer: str) -> None:
        super().__init__(
            f"Step {step_id!r} is asked for inside step {outer!r}; a step is one unit.",
            hint="Call the function directly there, or move the inner step out into the handler.",
        )
        self.step_id, self.outer = step_id, outer


class HistoryMismatch(ErrandsError):
    """The code no longer fits this run's history; names the step."""

    code, fails_run_at_once = "history_mismatch", True

    def __init__(self, run_id: str, expected: str, found: str) -> None:
        super().__init__(
            f"Run {run_id} has a result for step {expected!r}, but the code now asks for "
            f"{found!r}.",
            hint=f"Keep step {expected!r} in the code until the runs in flight have ended, or "
            "cancel the run.",
        )
        self.run_id, self.expected, self.found = run_id, expected, found


class InputMismatch(ErrandsError):
    """What a run was started with does not fit the handler's annotations any more."""

    code, fails_run_at_once = "input_mismatch", True

    def __init__(self, run_id: str, what: str, why: str) -> None:
        super().__init__(
            f"Run {run_id} was started with {what}, which no longer fits the code: {why}.",
            hint="Give new fields and arguments a default until the runs in flight have ended, "
            "or cancel the run.",
        )
        self.run_id = run_id


# -- asking about a job ----------------------------------------------------------------------------


class JobNotFound(ErrandsError, LookupError):
    """No job with this id (or it is past its retention)."""

    code = "job_not_found"

    def __init__(self, job_id: str) -> None:
        super().__init__(
            f"No job {job_id!r}, or it is past its retention.",
            hint="Check the id, and that ERRANDS_URL is where the job was enqueued.",
        )
        self.job_id = job_id


class JobIsOver(ErrandsError):
    """An update of an external job that has ended already."""

    code = "job_is_over"

    def __init__(self, job_id: str) -> None:
        super().__init__(
            f"Job {job_id!r} is over, so nothing of it can be changed.",
            hint="Create another one.",
        )
        self.job_id = job_id


class NotExternal(ErrandsError):
    """An update of a job that errands executes: only its own code says how it goes."""

    code = "not_external"

    def __init__(self, job_id: str, function_id: str) -> None:
        super().__init__(
            f"Job {job_id!r} is no external job: it is a run of {function_id!r}.",
            hint="Report from inside it, with progress.set(…), or cancel it.",
        )
        self.job_id, self.function_id = job_id, function_id


class NotRepeatable(ErrandsError):
    """A run that cannot be started once more; says why."""

    code = "not_repeatable"

    def __init__(self, run_id: str, why: str, *, hint: str) -> None:
        super().__init__(f"Run {run_id} cannot be repeated: {why}.", hint=hint)
        self.run_id = run_id


class JobFailed(_OfFailure):
    """From job.result(): the job failed for good."""

    code = "job_failed"

    def __init__(self, job_id: str, failure: Failure) -> None:
        at = f" at step {failure.step!r}" if failure.step else ""
        super().__init__(f"Job {job_id} failed{at}: {_line(failure)}")
        self.job_id, self.failure = job_id, failure


class JobCancelled(ErrandsError):
    """From job.result(): the job was cancelled."""

    code = "job_cancelled"

    def __init__(self, job_id: str, reason: str | None = None) -> None:
        super().__init__(f"Job {job_id} was cancelled{f': {reason}' if reason else ''}.")
        self.job_id, self.reason = job_id, reason


class ResultTimeout(ErrandsError, TimeoutError):
    """From job.result(timeout=…): not finished in time. The job goes on."""

    code, retryable = "result_timeout", True

    def __init__(self, job_id: str, waited: str, status: str) -> None:
        super().__init__(
            f"Job {job_id} is still {status} after {waited}. It goes on.",
            hint="Ask again later, or follow it with job.watch().",
        )
        self.job_id = job_id


class ResultMismatch(ErrandsError):
    """From job.result(): the result does not fit the job's return annotation any more."""

    code = "result_mismatch"

    def __init__(self, job_id: str, expected: str, why: str) -> None:
        super().__init__(
            f"The result of job {job_id} is no {expected} any more: {why}.",
            hint="app.jobs.result(id) gives it as plain JSON.",
        )
        self.job_id = job_id


def _line(failure: Failure) -> str:
    return f"{failure.name}: {failure.message}" if failure.message else failure.name


def _start(text: str) -> str:
    """The same text as the start of a sentence."""
    return text[:1].upper() + text[1:]


class InternalError(ErrandsError):
    """A promise of errands' own is broken: a bug."""

    code = "internal_error"
