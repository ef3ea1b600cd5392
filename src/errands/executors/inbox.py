"""Durable inputs not yet decided: those for this worker, and those whose worker is gone.

What a process queues for itself it decides from memory; this is for what others queue for it, and
for what a crash left behind.
"""

from collections.abc import Iterator

from errands.executors.committer import Committer
from errands.executors.ticket import Ticket
from errands.store.interface import Reader

PAGE = 500
BYTES_MAX = 4 * 1024 * 1024


class Inbox:
    def __init__(self, committer: Committer, reader: Reader) -> None:
        self._committer, self._reader = committer, reader
        self._handed: list[Ticket[object]] = []
        self.is_more = False
        """The last look left something for the next one."""

    def look(self) -> bool:
        """Hand over what the committer does not have at hand; False if there was nothing.

        A page at a time: the next one when that is decided. Numbers are read first, and bodies only
        of what is new: those of a large send are large.
        """
        self._handed = [ticket for ticket in self._handed if not ticket.is_done]
        chosen: list[int] = []
        left, size = PAGE - len(self._handed), 0
        self.is_more = False
        for id, bytes in self._unknown():
            if left <= 0 or (chosen and size + bytes > BYTES_MAX):
                self.is_more = True
                break
            chosen.append(id)
            left, size = left - 1, size + bytes
        for follow_up in self._reader.follow_ups(chosen) if chosen else ():
            self._handed.append(self._committer.submit(follow_up))
        return bool(chosen) or self.is_more

    def _unknown(self) -> Iterator[tuple[int, int]]:
        after = 0
        while True:
            page = self._reader.inbox_rows(self._committer.here.worker, after, PAGE)
            for id, bytes in page:
                if not self._committer.has_at_hand(id):
                    yield id, bytes
            if len(page) < PAGE:
                return
            after = page[-1][0]
