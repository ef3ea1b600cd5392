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


class JobView(msgspec.Struct, frozen=True):
    """One look at a run, as its owner sees it. Times are Unix ms."""

    id: str
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
