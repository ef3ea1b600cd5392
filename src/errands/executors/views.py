"""A run as its owner sees it, from what the store says of it."""

import msgspec

from errands.model.job import JobView
from errands.model.run import Done, RunStatus
from errands.store.interface import RunRow


def view_of(job_id: str, row: RunRow) -> JobView:
    """A run as its owner sees it; `job_id`: as it was asked for."""
    ok = row.status == "completed"
    return JobView(
        id=row.key or job_id,
        status=row.status,
        created_at=row.created_at,
        updated_at=row.updated_at,
        progress=row.percent,
        message=row.note,
        result=row.output if ok else None,
        error=row.output if row.status == "failed" and not row.is_cancelled else None,
        cancelled=_reason(row.output) if row.is_cancelled else None,
    )


def view_of_done(
    job_id: str, created_at: int, done: Done, progress: float | None, message: str | None
) -> JobView:
    ok = done.status == RunStatus.COMPLETED
    is_cancelled = done.status == RunStatus.CANCELLED
    return JobView(
        id=job_id,
        status="completed" if ok else "failed",
        created_at=created_at,
        updated_at=done.at,
        progress=progress,
        message=message,
        result=done.output if ok else None,
        error=None if ok or is_cancelled else done.output,
        cancelled=_reason(done.output) if is_cancelled else None,
    )


def _reason(output: bytes | None) -> str:
    return msgspec.json.decode(output or b'""', type=str)
