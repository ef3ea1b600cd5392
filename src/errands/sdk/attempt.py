"""What an attempt that failed says about the next one, and how its error is kept."""

import logging
from datetime import datetime
from typing import Any, Final, NamedTuple, cast

import msgspec

from errands.model.call import Again, Journal
from errands.model.duration import parse_duration
from errands.model.errors import ErrandsError, NonRetriableError, StepError
from errands.model.function import RetryPolicy
from errands.model.retry_after import RetryAfterError
from errands.model.run import Failure
from errands.sdk.event import unix_ms
from errands.sdk.failure import failure_of
from errands.sdk.options import Retries

logger = logging.getLogger(__name__)
encode_failure: Final = msgspec.json.Encoder().encode
decode_failure: Final = msgspec.json.Decoder(Failure).decode
decode_policy: Final = msgspec.json.Decoder(RetryPolicy).decode


class Judged(NamedTuple):
    """An attempt that failed."""

    failure: Failure
    """Its error as it is kept."""
    encoded: bytes
    again: Again


def judge(
    error: BaseException,
    attempt: int,
    retries: Retries,
    journal: Journal,
    override: bytes | None = None,
) -> Judged:
    """Why an attempt (from 0) failed, and what that says about the next one.

    override: JSON RetryPolicy of the run, where it has its own.

    The user's code has a say in it (`delay=`, the error itself). Where that fails, there is no
    further attempt, and its own error is the one that is kept: a run without an end would be worse.
    """
    try:
        told = _again(error, attempt, retries, journal, override)
        failure = _failed(error, attempt)
        return Judged(failure, encode_failure(failure), told)
    except KeyboardInterrupt:
        raise
    except BaseException as broken:  # whatever it is, it must not take the run's end along
        if broken.__context__ is None and broken is not error:
            broken.__context__ = error
        failure = _failed(broken, attempt)
        told = Again(retries.policy, attempt, 0.0, is_final=True)
        return Judged(failure, encode_failure(failure), told)


def _failed(error: BaseException, attempt: int) -> Failure:
    return failure_of(_only(error), attempts=attempt + 1)


def _again(
    error: BaseException,
    attempt: int,
    retries: Retries,
    journal: Journal,
    override: bytes | None,
) -> Again:
    error = _only(error)
    policy = retries.policy if override is None else decode_policy(override)
    is_final = _is_final(error) or retries.gives_up_on(error)
    after_ms = at = None
    if isinstance(error, RetryAfterError):
        if isinstance(error.retry_after, datetime):
            at = unix_ms(error.retry_after)
        else:
            after_ms = parse_duration(error.retry_after, "RetryAfterError")
    elif not is_final and attempt < policy.count and isinstance(error, Exception):
        after_ms = retries.delay_ms(attempt, error)
    return Again(policy, attempt, journal.draw(), is_final, after_ms, at)


def _is_final(error: BaseException) -> bool:
    """Would another attempt end the same way? A failed step is remembered as failed."""
    if members := _members(error):
        return any(map(_is_final, members))
    if isinstance(error, NonRetriableError | StepError):
        return True
    return isinstance(error, ErrandsError) and error.fails_run_at_once


def _only(error: BaseException) -> BaseException:
    """What a TaskGroup has wrapped, if it is one error: that is what a reader looks for."""
    while len(members := _members(error)) == 1:
        error = members[0]
    return error


def _members(error: BaseException) -> tuple[BaseException, ...]:
    return cast("Any", error).exceptions if isinstance(error, BaseExceptionGroup) else ()
