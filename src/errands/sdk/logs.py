"""Logging inside a run lands on that run, with step and attempt."""

import logging

from errands.model.text import storable
from errands.sdk.context import SESSION, STEP
from errands.sdk.session import Session

TEXT_MAX = 8_192
"""Longer lines are cut."""


class RunHandler(logging.Handler):
    """On the root logger of a worker: keeps what is logged inside a run, and names the run to the
    handlers behind it; lets all else pass.
    """

    def emit(self, record: logging.LogRecord) -> None:
        session = SESSION.get()
        if session is None:
            return
        step = STEP.get()
        name(record, session, step)
        if record.name.startswith("errands."):
            return
        try:
            text = self.format(record)
        except Exception:
            self.handleError(record)
            return
        session.log(record.levelno, storable(text, TEXT_MAX), step)


def name(record: logging.LogRecord, session: Session, step: tuple[str, int] | None) -> None:
    """Set `run`, `function`, `step` and `attempt` on the line, unless its code has, by `extra`."""
    id, attempt = (None, session.attempt) if step is None else step
    given = vars(record)
    given.setdefault("run", session.public_id)
    given.setdefault("function", f"{session.app_id}/{session.function_id}")
    given.setdefault("step", id)
    given.setdefault("attempt", attempt)


_handler = RunHandler()
_users = 0
_level_before: int | None = None
"""Of the root logger, if it was changed."""


def capture() -> None:
    """Start, or go on, keeping what runs log. Each call needs its `release`."""
    global _users, _level_before
    _users += 1
    if _users == 1:
        root = logging.getLogger()
        root.addHandler(_handler)
        # Before the others, which may want to show what it knows of a line.
        root.handlers.insert(0, root.handlers.pop())
        if root.level == logging.WARNING and len(root.handlers) == 1:
            # Nobody has configured logging: people expect to see their info lines on the run.
            _level_before = root.level
            root.setLevel(logging.INFO)


def release() -> None:
    global _users, _level_before
    _users -= 1
    if _users == 0:
        root = logging.getLogger()
        root.removeHandler(_handler)
        if _level_before is not None:
            root.setLevel(_level_before)
            _level_before = None
