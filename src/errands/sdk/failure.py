"""An exception as it is kept, and as a failure handler sees it."""

import traceback
from datetime import datetime
from pathlib import Path
from types import TracebackType

import msgspec

from errands.model import run
from errands.model.errors import ErrandsError, StepError, was

MESSAGE_BYTES_MAX = 8 * 1024
STACK_BYTES_MAX = 32 * 1024
# Where errands' own frames come from.
_OURS = str(Path(__file__).parent.parent) + "/"


class Failure:
    """Why a run failed for good: what a failure handler gets first."""

    __slots__ = (
        "_kept",
        "attempts",
        "failed_at",
        "function_id",
        "message",
        "name",
        "run_id",
        "stack",
    )

    def __init__(
        self, kept: run.Failure, run_id: str, function_id: str, failed_at: datetime
    ) -> None:
        self._kept = kept
        self.run_id = run_id
        self.function_id = function_id
        """"app/function"."""
        self.attempts = kept.attempts
        self.name = kept.name
        """Class name of the error."""
        self.message = kept.message
        self.stack = kept.stack
        self.failed_at = failed_at

    def was(self, error: type[BaseException]) -> bool:
        """Was the error an instance of this class? By its name and those of its bases."""
        return was(self._kept, error)

    def __repr__(self) -> str:
        return f"<Failure of {self.function_id}, run {self.run_id}: {self.name}: {self.message}>"


def failure_of(error: BaseException, *, step: str | None = None, attempts: int = 1) -> run.Failure:
    """Its class names, message and stack. Of an uncaught StepError: those of the step's own error.

    step: the step whose failure ended the run, when that is why.
    attempts: how often it was tried.
    """
    if isinstance(error, StepError):
        return msgspec.structs.replace(error.failure, step=error.step_id)
    return run.Failure(
        name=type(error).__name__,
        message=_first(_text(error), MESSAGE_BYTES_MAX),
        stack=_last(_stack(error), STACK_BYTES_MAX),
        bases=tuple(base.__name__ for base in type(error).__mro__[1:-1]),
        code=error.code if isinstance(error, ErrandsError) else None,
        step=step,
        attempts=attempts,
    )


def _text(error: BaseException) -> str:
    try:
        return str(error)
    except Exception as broken:  # a user's __str__ may fail; the error itself must still be kept
        return f"(its message cannot be read: {type(broken).__name__})"


def _stack(error: BaseException) -> str:
    try:
        lines = traceback.TracebackException(
            type(error), error, _users(error.__traceback__), compact=True
        ).format()
        return "".join(lines)
    except Exception as broken:
        return f"(its stack cannot be read: {type(broken).__name__})"


def _users(frames: TracebackType | None) -> TracebackType | None:
    """Without errands' own frames at the top: how a handler is called is no news to its author."""
    rest = frames
    while rest is not None and rest.tb_frame.f_code.co_filename.startswith(_OURS):
        rest = rest.tb_next
    return rest if rest is not None else frames


def _first(text: str, limit: int) -> str:
    data = text.encode("utf-8", "backslashreplace")
    return (
        data.decode() if len(data) <= limit else data[: limit - 3].decode("utf-8", "ignore") + "…"
    )


def _last(text: str, limit: int) -> str:
    data = text.encode("utf-8", "backslashreplace")
    return (
        data.decode()
        if len(data) <= limit
        else "…" + data[-(limit - 3) :].decode("utf-8", "ignore")
    )
