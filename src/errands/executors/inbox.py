"""Durable inputs not yet decided: those for this worker, and those whose worker is gone.

What a process queues for itself it decides from memory; this is for what others queue for it, and
for what a crash left behind.
"""

from errands.executors.committer import Committer
from errands.executors.ticket import Ticket
from errands.store.interface import Reader

PAGE = 500


class Inbox:
    def __init__(self, committer: Committer, reader: Reader) -> None:
        self._committer, self._reader = committer, reader
        self._handed: dict[int, Ticket[object]] = {}

    def look(self) -> bool:
        """Read the inbox, and hand over what is not decided already; False if it was empty."""
        for id in [id for id, ticket in self._handed.items() if ticket.is_done]:
            del self._handed[id]
        found = self._reader.inbox(self._committer.here.worker, 0, PAGE)
        for follow_up in found:
            if follow_up.inbox not in self._handed:
                self._handed[follow_up.inbox] = self._committer.submit(follow_up)
        return bool(found)
