"""Logging inside a run lands on that run, with step and attempt."""

import logging

from errands.sdk.context import SESSION, STEP
from errands.sdk.text import storable

TEXT_MAX = 8_192
"""Longer lines are cut."""


class RunHandler(logging.Handler):
    """On the root logger of a worker: keeps what is logged inside a run, lets all else pass."""

    def emit(self, record: logging.LogRecord) -> None:
        session = SESSION.get()
        if session is None or record.name.startswith("errands."):
            return
        try:
            text = self.format(record)
        except Exception:
            self.handleError(record)
            return
        step = STEP.get()
        session.log(record.levelno, storable(text, TEXT_MAX), step)


_handler = RunHandler()
_users = 0


def capture() -> None:
    """Start, or go on, keeping what runs log. Each call needs its `release`."""
    global _users
    _users += 1
    if _users == 1:
        root = logging.getLogger()
        root.addHandler(_handler)
        if root.level == logging.WARNING and len(root.handlers) == 1:
            # Nobody has configured logging: people expect to see their info lines on the run.
            root.setLevel(logging.INFO)


def release() -> None:
    global _users
    _users -= 1
    if _users == 0:
        logging.getLogger().removeHandler(_handler)
