"""When a failed attempt is tried again."""

from errands.model.call import Again
from errands.model.function import RetryPolicy

# Quick at first, for blips; then slow enough for somebody's outage to end.
BACKOFF_MS = tuple(s * 1000 for s in (15, 30, 60, 120, 300, 600, 1200, 2400, 3600, 7200))
JITTER_MS = 30_000


def retry_delay_ms(policy: RetryPolicy, attempt: int, jitter: float) -> int | None:
    """Milliseconds to wait after `attempt` (0-based) has failed; None when none is left.

    jitter: 0.0 <= jitter < 1.0, drawn by the caller; adds up to 30 s to the standard table, up to a
    tenth to a delay of the user's own.   Source: docs/reference/retries.md, "Back-off".
    """
    if attempt >= policy.count:
        return None
    if policy.delay_ms is None:
        base, spread = BACKOFF_MS[min(attempt, len(BACKOFF_MS) - 1)], float(JITTER_MS)
    else:
        # 64 doublings pass any limit; more would only overflow.
        grown = policy.delay_ms * policy.factor ** min(attempt, 64)
        base = int(min(grown, policy.delay_ms_max or 365 * 86_400_000))
        spread = base / 10
    return base + int(jitter * spread) if policy.jitter else base


def next_attempt_at(again: Again, now: int, cut_ms: int = 1) -> int | None:
    """Unix ms of the next attempt; None when it has failed for good.

    cut_ms: what the clock has cut off `now` at most; added, so that nothing is ever early.
    """
    if again.is_final or again.attempt >= again.policy.count:
        return None
    if again.at is not None:
        return max(again.at, now)
    if again.after_ms is not None:
        return now + again.after_ms + cut_ms
    delay = retry_delay_ms(again.policy, again.attempt, again.jitter)
    return None if delay is None else now + delay + cut_ms
