"""Where am I: the run, and the step, that the current code executes in. Found by a contextvar."""

from contextvars import ContextVar
from datetime import UTC, datetime

from errands.model.errors import NotInRun
from errands.sdk.run import Run
from errands.sdk.session import Session

SESSION: ContextVar[Session | None] = ContextVar("errands_session", default=None)
STEP: ContextVar[tuple[str, int] | None] = ContextVar("errands_step", default=None)
"""Id and attempt of the step being executed."""
BRANCH: ContextVar[object] = ContextVar("errands_branch", default=None)
"""Set in a thread whose code calls `sync`: it is one branch, whatever tasks carry its calls."""


def current_run() -> Run:
    """The run that this code executes in. Raises NotInRun."""
    session = SESSION.get()
    if session is None:
        raise NotInRun("current_run()")
    step = STEP.get()
    return Run(
        id=session.public_id,
        app_id=session.app_id,
        function_id=session.function_id,
        attempt=session.attempt if step is None else step[1],
        started_at=datetime.fromtimestamp(session.started_at / 1000, UTC),
        step_id=None if step is None else step[0],
    )


__all__ = ["BRANCH", "SESSION", "STEP", "Run", "current_run"]
