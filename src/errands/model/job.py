"""A job: the user-facing view of a run."""

from typing import Literal

import msgspec

JobState = Literal["pending", "processing", "completed", "failed"]


class NewJob(msgspec.Struct, frozen=True, gc=False, tag="job"):
    """A call of a job function on its way in; not accepted yet."""

    app: str
    function: str
    data: bytes
    """JSON object: the arguments by name."""
    key: str | None = None
    """Idempotency key: the same key within 24 h gives the first job again."""
    delay_ms: int | None = None
    at: int | None = None
    retries: bytes | None = None
    start_timeout_ms: int | None = None
    finish_timeout_ms: int | None = None
    tags: tuple[str, ...] = ()
    trace: str | None = None
    """W3C traceparent of whoever enqueued it."""


KEY_SCOPE = -1
"""The dedup scope of external jobs' own ids."""


class ExternalJob(msgspec.Struct, frozen=True, omit_defaults=True):
    """What is kept of an external job when it is made, as the input of its run."""

    keep_ms: int
    """How long it may go without an update before it fails; and how long it is kept once it is
    over.
    """
    key: str | None = None
    """Its id, where the user has chosen one."""


class JobView(msgspec.Struct, frozen=True):
    """One look at a run, as its owner sees it. Times are Unix ms."""

    id: str
    """Of an external job the one that the user chose, if any."""
    status: JobState
    created_at: int
    updated_at: int
    progress: float | None = None
    message: str | None = None
    result: bytes | None = None
    """JSON."""
    error: bytes | None = None
    """JSON Failure."""
    cancelled: str | None = None
    """Why it was cancelled, if it was."""

    @property
    def is_final(self) -> bool:
        return self.status in ("completed", "failed")
