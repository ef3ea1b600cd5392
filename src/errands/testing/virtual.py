"""Time that stands still until it is moved."""

import asyncio
import heapq
from collections.abc import Callable


class VirtualClock:
    """See `clock.Clock`. Its milliseconds are exact: nothing is cut off when it is read."""

    def __init__(self, now: int) -> None:
        self._now = now

    def now(self) -> int:
        return self._now

    def move_to(self, ms: int) -> None:
        assert ms >= self._now, "time goes one way"
        self._now = ms


class VirtualAlarm:
    """See `clock.Alarm`."""

    def __init__(self, call: Callable[[], None]) -> None:
        self.call: Callable[[], None] | None = call

    def cancel(self) -> None:
        self.call = None


class VirtualAlarms:
    """See `clock.Alarms`. They ring when time has been moved and `ring` is called."""

    def __init__(self, clock: VirtualClock) -> None:
        self._clock = clock
        self._heap: list[tuple[int, int, VirtualAlarm]] = []
        self._count = 0

    def call_at(self, ms: int, call: Callable[[], None]) -> VirtualAlarm:
        alarm = VirtualAlarm(call)
        # The count keeps alarms of one moment in the order in which they were set.
        self._count += 1
        heapq.heappush(self._heap, (ms, self._count, alarm))
        if ms <= self._clock.now():
            asyncio.get_running_loop().call_soon(self.ring)
        return alarm

    @property
    def next_at(self) -> int | None:
        """When the next one rings."""
        while self._heap and self._heap[0][2].call is None:
            heapq.heappop(self._heap)
        return self._heap[0][0] if self._heap else None

    def ring(self) -> None:
        """Call all that are due, the earliest first."""
        now = self._clock.now()
        while (due := self.next_at) is not None and due <= now:
            alarm = heapq.heappop(self._heap)[2]
            if alarm.call is not None:
                alarm.call()

    def forget(self) -> None:
        """As a process does that is killed."""
        self._heap.clear()
