"""The run that code executes in, as that code sees it."""

from datetime import datetime

import msgspec


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
