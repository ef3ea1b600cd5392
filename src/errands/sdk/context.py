"""Where am I: the run, and the step, that the current code executes in. Found by a contextvar."""

from contextvars import ContextVar
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import msgspec

from errands.model.errors import NotInRun

if TYPE_CHECKING:
    from errands.sdk.live import LiveSession

SESSION: ContextVar["LiveSession | None"] = ContextVar("errands_session", default=None)
STEP: ContextVar[tuple[str, int] | None] = ContextVar("errands_step", default=None)
"""Id and attempt of the step being executed."""
BRANCH: ContextVar[object] = ContextVar("errands_branch", default=None)
"""Set by `sync`: the thread of a plain function is one branch, whatever tasks carry its calls."""


class Run(msgspec.Struct, frozen=True):
    """The run that the current code executes in."""

    id: str
    app_id: str
    function_id: str
    attempt: int
    """Counted from 0; inside a step the step's."""
    started_at: datetime
    step_id: str | None
    """The step being executed; None between steps."""


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
