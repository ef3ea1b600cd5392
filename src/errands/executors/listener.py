"""Hears what other processes commit, for whoever waits here for a run of theirs.

A thread, because those who wait may be in any loop, or in a plain thread. It works only while
somebody waits; hints make it prompt, and a poll of the store's version makes it right.
"""

import logging
import selectors
import threading
import time
from collections.abc import Callable, Container, Sequence
from typing import Any

from errands.executors.ticket import Ticket
from errands.executors.watchers import Watchers
from errands.model.ids import RunId
from errands.store.interface import Ear, Store, Topic

log = logging.getLogger("errands.listener")
POLL_SECONDS = 0.02
PACE_SECONDS = 0.002
"""Least time between two looks, however many hints come; as much again for every PAGE who wait."""
PAGE = 100
EVERYBODY_SECONDS = 5.0
"""How often all who wait look for themselves, should something have been missed here."""
REST_SECONDS = 1.0
"""After an error."""


class Listener:
    """`tell` gets the tickets of those whose run has changed. `leased`: runs executed here."""

    def __init__(
        self,
        store: Store,
        watchers: Watchers,
        tell: Callable[[list[Ticket[Any]]], None],
        leased: Callable[[], Container[RunId]] = tuple,
    ) -> None:
        self.poll_seconds = POLL_SECONDS
        self._store, self._watchers, self._tell = store, watchers, tell
        self._leased = leased
        self._starting = threading.Lock()
        self._thread: threading.Thread | None = None
        self._wanted = threading.Event()
        self._leaving = threading.Event()
        self._stamps: dict[RunId, tuple[Any, ...]] = {}
        """What each of those waited for looked like."""

    def attend(self) -> None:
        """Somebody waits from now on."""
        if not self._wanted.is_set():
            self._wanted.set()
        if self._thread is None:
            with self._starting:
                if self._thread is None:
                    self._thread = threading.Thread(
                        target=self._run, name="errands-listener", daemon=True
                    )
                    self._thread.start()

    def close(self) -> None:
        self._leaving.set()
        self._wanted.set()
        if (thread := self._thread) is not None:
            thread.join()

    def _run(self) -> None:
        ear, selector = None, None
        while not self._leaving.is_set():
            self._wanted.wait()
            try:
                if selector is None:
                    selector = selectors.DefaultSelector()
                    if (ear := self._store.listen(Topic.NEWS)) is not None:
                        selector.register(ear, selectors.EVENT_READ)
                self._listen(ear, selector)
            except Exception:
                log.exception("cannot see what other processes commit; goes on a little later")
                self._wanted.set()
                self._leaving.wait(REST_SECONDS)
        if selector is not None:
            selector.close()
        if ear is not None:
            ear.close()

    def _listen(self, ear: Ear | None, selector: selectors.BaseSelector) -> None:
        """Until nobody waits any more."""
        # Whatever has been missed before: everybody is told once.
        self._stamps, told_at = {}, time.monotonic()
        seen, is_hinted = -1, False
        while not self._leaving.is_set():
            # Cleared before it is counted who waits: whoever comes meanwhile sets it again.
            self._wanted.clear()
            waiting = self._watchers.waiting()
            if not waiting:
                return
            pace = PACE_SECONDS * (1 + len(waiting) // PAGE)
            if time.monotonic() - told_at > EVERYBODY_SECONDS:
                self._stamps, told_at = {}, time.monotonic()
            else:
                # What is executed here changes by this process's own commits, which are told.
                leased = self._leased()
                waiting = [run for run in waiting if run not in leased]
            version = self._store.version()
            if version != seen or any(run not in self._stamps for run in waiting):
                self._look(waiting)
                seen = version
            self._leaving.wait(pace)
            if ear is None:
                self._leaving.wait(self.poll_seconds)
                continue
            # After a hint once more at once: who gave it is quiet for a moment after it.
            if is_hinted := bool(selector.select(0 if is_hinted else self.poll_seconds)):
                ear.drain()

    def _look(self, waiting: Sequence[RunId]) -> None:
        # A run that is new here may have changed before it was looked at: its waiter looks again.
        stamps = self._store.reader.stamps(waiting)
        before = self._stamps
        self._stamps = {run: stamps.get(run, ()) for run in waiting}
        changed = [run for run, stamp in self._stamps.items() if before.get(run) != stamp]
        if changed:
            self._tell(self._watchers.changed(changed))
