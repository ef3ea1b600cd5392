"""From where a lane is looked through for who stands ready: near where the last one was taken.

Rows that are gone stay in the index for as long as somebody holds an old snapshot: a report, a
dump. Whoever began at the first position would walk over all of them, each time. Positions are in
order of time, so what lies before the last one taken is mostly gone. Mostly: who came a little
later with a lower position is found by a margin, and everybody by a look from the very beginning
about once a second.
"""

import time

from errands.model.ids import COUNTER_BITS, NODE_BITS

SLACK = 500 << (NODE_BITS + COUNTER_BITS)
"""Half a second, as positions count them."""
WHOLE_SECONDS = 1.0
FIRST = -(1 << 63)


class Heads:
    """Of all lanes, as one process knows them. Any thread may ask."""

    def __init__(self) -> None:
        self._after: dict[tuple[int, int], int] = {}
        self._whole_at: dict[str, float] = {}
        self._owing: dict[str, None] = {}
        self._owed = 0

    def is_whole(self, who: str) -> bool:
        """Is it time for `who` to look from the very beginning?"""
        now = time.monotonic()
        if now - self._whole_at.get(who, -WHOLE_SECONDS) < WHOLE_SECONDS:
            return False
        self._whole_at[who] = now
        return True

    def after(self, lane: int, urgency: int) -> int:
        return self._after.get((lane, urgency), FIRST)

    def found(self, lane: int, urgency: int, position: int) -> None:
        """Somebody stands there: further ahead than was looked, perhaps."""
        if position < self.after(lane, urgency):
            self._after[lane, urgency] = position

    def taken(self, lane: int, urgency: int, position: int) -> None:
        self._after[lane, urgency] = max(self.after(lane, urgency), position - SLACK)

    def fell_short(self, who: str, *, is_whole: bool) -> None:
        """Somebody may have been overlooked by `who`, unless that looked at everything."""
        if is_whole:
            self._owing.pop(who, None)
        else:
            self._owing[who] = None

    def owed(self) -> int:
        """Another number whenever it is time to look again although nobody has committed."""
        now = time.monotonic()
        for who in list(self._owing):
            if now - self._whole_at.get(who, 0.0) >= WHOLE_SECONDS:
                self._owing.pop(who, None)
                self._owed += 1
        return self._owed
