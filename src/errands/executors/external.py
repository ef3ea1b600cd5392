"""What users say of external jobs, checked and made an input: the one door they come through."""

import msgspec

from errands.engine.input import JobChanged, JobMade
from errands.model.errors import ValueTooLarge
from errands.model.external_rules import Change, check_made, checked
from errands.model.ids import RunId
from errands.model.run import Failure

_encode = msgspec.json.Encoder().encode


def job_made(key: str | None, keep_ms: int) -> JobMade:
    """Raises InvalidConfig."""
    check_made(key, keep_ms)
    return JobMade(key, keep_ms)


def job_changed(job_id: str, run: RunId, change: Change, bytes_max: int) -> JobChanged:
    """bytes_max: of the result. Raises InvalidConfig, ValueTooLarge."""
    change = checked(job_id, change)
    output = change.result
    if output is not None and len(output) > bytes_max:
        raise ValueTooLarge(f"the result of job {job_id!r}", len(output), bytes_max)
    if change.status == "failed":
        # The text alone is what its owner shows; there is no exception behind it.
        output = _encode(Failure(change.error or "failed", ""))
    return JobChanged(job_id, run, change.status, change.percent, change.note, output)
