"""What a run says beside its steps, from any thread: log lines and progress."""

import asyncio
import threading
from collections.abc import Callable

from errands.model.call import Journal, Logged, ProgressMade
from errands.model.errors import Unavailable
from errands.model.ids import RunId
from errands.model.run import LogLine
from errands.model.text import storable

PROGRESS_SECONDS = 0.1
LOG_SECONDS = 0.5
MESSAGE_MAX = 1_000
"""Longer messages of progress are cut."""


class Notes:
    """Collects them and writes many at once, at the latest with what the run reports next."""

    def __init__(
        self,
        run: RunId,
        attempt: int,
        journal: Journal,
        loop: asyncio.AbstractEventLoop,
        fence: Callable[[], int],
    ) -> None:
        self._fence = fence
        self._run, self._attempt, self._journal, self._loop = run, attempt, journal, loop
        self._lock = threading.Lock()
        self._progress: tuple[float | None, str | None] | None = None
        self._told: tuple[float | None, str | None] | None = None
        self._is_over = False
        self.lines: list[LogLine] = []

    def log(self, level: int, text: str, step: tuple[str, int] | None) -> None:
        """Keep a line. Also after the run's end: it is still the run that said it."""
        id, attempt = step if step is not None else (None, self._attempt)
        line = LogLine(
            self._run, self._journal.new_id(), self._journal.now(), id, attempt, level, text
        )
        with self._lock:
            self.lines.append(line)
            is_first = len(self.lines) == 1
        if is_first:
            self._soon(LOG_SECONDS)

    def set_progress(self, percent: float | None, note: str | None) -> None:
        """The latest value wins. Not after the run's end: then it says nothing any more."""
        told = (percent, None if note is None else storable(note, MESSAGE_MAX))
        with self._lock:
            if self._is_over or told == self._told:
                return
            is_first = self._progress is None
            self._progress = self._told = told
        if is_first:
            self._soon(PROGRESS_SECONDS)

    def _soon(self, seconds: float) -> None:
        try:
            self._loop.call_soon_threadsafe(self._loop.call_later, seconds, self.flush)
        except RuntimeError:
            # The loop is closed, and with it the run's own chance to say anything.
            return

    def flush(self) -> None:
        """Write what there is, before whatever is reported next. In the loop's thread."""
        if not self.lines and self._progress is None:
            return
        with self._lock:
            lines, self.lines = tuple(self.lines), []
            progress, self._progress = self._progress, None
        try:
            if lines:
                self._journal.submit(Logged(lines))
            if progress is not None:
                self._journal.submit(ProgressMade(self._run, self._fence(), *progress))
        except Unavailable:
            # A thread that outlives its run, and the app: there is no place left to write to.
            return

    def end(self) -> None:
        self.flush()
        with self._lock:
            self._is_over = True
