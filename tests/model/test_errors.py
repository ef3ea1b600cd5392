import inspect
import pickle

import pytest

from errands.model import errors
from errands.model.errors import (
    DuplicateStep,
    ErrandsError,
    HistoryMismatch,
    InvalidConfig,
    JobFailed,
    NestedStep,
    StepError,
    Unavailable,
    ValueNotStorable,
    ValueTooLarge,
)
from errands.model.retry_after import RetryAfterError
from errands.model.run import Failure

DECLINED = Failure("CardDeclined", "no funds", "Traceback …", bases=("PaymentError", "Exception"))


def all_errors() -> list[type[ErrandsError]]:
    return [
        found
        for name, found in vars(errors).items()
        if inspect.isclass(found) and issubclass(found, ErrandsError) and not name.startswith("_")
    ]


def test_an_error_says_what_happened_then_what_to_do() -> None:
    error = InvalidConfig("retries: -1 is refused.", hint="It must be from 0 to 1000.")

    assert str(error) == "retries: -1 is refused. It must be from 0 to 1000."
    assert error.hint == "It must be from 0 to 1000."
    assert str(InvalidConfig("That is all.")) == "That is all."


def test_codes_are_unique_and_stable_names() -> None:
    codes = [found.code for found in all_errors()]

    assert len(set(codes)) == len(codes)
    assert all(code.isidentifier() and code.islower() for code in codes)


@pytest.mark.parametrize(
    "error", [DuplicateStep, NestedStep, ValueNotStorable, ValueTooLarge, HistoryMismatch]
)
def test_mistakes_in_code_fail_the_run_at_once(error: type[ErrandsError]) -> None:
    assert error.fails_run_at_once


@pytest.mark.parametrize("error", [ErrandsError, Unavailable, StepError, JobFailed])
def test_other_errors_may_be_tried_again_by_the_run(error: type[ErrandsError]) -> None:
    assert not error.fails_run_at_once


@pytest.mark.parametrize("error", [StepError("charge", DECLINED), JobFailed("01J", DECLINED)])
def test_the_original_is_known_by_name_and_by_its_bases(error: StepError | JobFailed) -> None:
    class CardDeclined(Exception): ...

    class PaymentError(Exception): ...

    class Other(Exception): ...

    assert error.was(CardDeclined)
    assert error.was(PaymentError)
    assert error.was(Exception)
    assert not error.was(Other)
    assert (error.name, error.message, error.stack) == ("CardDeclined", "no funds", "Traceback …")


def test_a_failed_job_names_the_step_and_the_error() -> None:
    error = JobFailed("01J", Failure("CardDeclined", "no funds", step="charge"))

    assert str(error) == "Job 01J failed at step 'charge': CardDeclined: no funds"


def test_too_large_tells_the_sizes() -> None:
    error = ValueTooLarge("the result of step 'x'", 300_000, 262_144)

    assert (error.field, error.size, error.limit) == ("the result of step 'x'", 300_000, 262_144)
    assert str(error).startswith(
        "The result of step 'x' is 300,000 bytes as JSON; the limit is 262,144."
    )


@pytest.mark.parametrize(
    "error",
    [
        StepError("charge", DECLINED),
        HistoryMismatch("01J", "a", "b"),
        ValueTooLarge("x", 2, 1),
        Unavailable("full", hint="later"),
    ],
)
def test_errors_survive_a_process_pool(error: ErrandsError) -> None:
    copy = pickle.loads(pickle.dumps(error))

    assert type(copy) is type(error)
    assert str(copy) == str(error)
    assert vars(copy) == vars(error)


def test_retry_after_keeps_its_time() -> None:
    error = RetryAfterError("the bank is closed", "10m")

    assert (str(error), error.retry_after) == ("the bank is closed", "10m")
    assert pickle.loads(pickle.dumps(error)).retry_after == "10m"


def test_standard_families_can_be_caught() -> None:
    assert issubclass(InvalidConfig, ValueError)
    assert issubclass(Unavailable, ConnectionError)
    assert issubclass(errors.ResultTimeout, TimeoutError)
    assert issubclass(errors.JobNotFound, LookupError)
