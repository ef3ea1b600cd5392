from typing import Any

from errands import StepError, ValueNotStorable
from errands.sdk.codec import store
from errands.sdk.failure import MESSAGE_BYTES_MAX, STACK_BYTES_MAX, failure_of


class PaymentError(Exception): ...


class CardDeclined(PaymentError): ...


def caught(function: Any) -> BaseException:
    try:
        function()
    except Exception as error:
        return error
    raise AssertionError("it did not fail")


def decline() -> None:
    raise CardDeclined("no funds")


def test_an_error_is_kept_by_names_message_and_stack() -> None:
    failure = failure_of(caught(decline), attempts=4)

    assert (failure.name, failure.message, failure.attempts) == ("CardDeclined", "no funds", 4)
    assert failure.bases == ("PaymentError", "Exception", "BaseException")
    assert "in decline\n" in failure.stack
    assert failure.stack.endswith("CardDeclined: no funds\n")
    assert failure.code is None


def test_causes_are_in_the_stack() -> None:
    def pay() -> None:
        try:
            decline()
        except CardDeclined as error:
            raise RuntimeError("cannot pay") from error

    assert "CardDeclined: no funds" in failure_of(caught(pay)).stack


def test_errands_own_errors_keep_their_code() -> None:
    error = caught(lambda: store(int, "x", "it"))

    assert isinstance(error, ValueNotStorable)
    assert failure_of(error).code == "value_not_storable"


def test_errands_own_frames_at_the_top_are_left_out() -> None:
    class Row(dict[str, Any]):
        def __eq__(self, other: object) -> bool:  # called by errands, as a handler is
            return bool(decline())

        __hash__ = None  # type: ignore[assignment]

    error = caught(lambda: store(Any, Row(), "it"))
    assert error.__traceback__ is not None
    error.__traceback__ = error.__traceback__.tb_next and error.__traceback__.tb_next.tb_next

    stack = failure_of(error).stack

    assert "errands/sdk" not in stack
    assert "in decline" in stack


def test_a_step_that_failed_for_good_ends_the_run_with_its_own_error() -> None:
    original = failure_of(caught(decline), attempts=3)

    failure = failure_of(StepError("charge", original), attempts=1)

    assert (failure.name, failure.message) == ("CardDeclined", "no funds")
    assert (failure.step, failure.attempts) == ("charge", 3)
    assert failure.stack == original.stack


def test_long_texts_are_cut_where_it_hurts_least() -> None:
    def deep(n: int) -> None:
        if n:
            deep_too(n - 1)
        raise CardDeclined("é" * 10_000)

    def deep_too(n: int) -> None:
        deep(n)

    failure = failure_of(caught(lambda: deep(200)))

    assert len(failure.message.encode()) <= MESSAGE_BYTES_MAX
    assert failure.message.startswith("éé")
    assert len(failure.stack.encode()) <= STACK_BYTES_MAX
    assert failure.stack.endswith("é\n")


def test_an_error_that_cannot_be_shown_is_still_kept() -> None:
    class Mute(Exception):
        def __str__(self) -> str:
            raise RuntimeError("no")

    assert failure_of(Mute()).name == "Mute"
    assert failure_of(ValueError("\ud800")).message == "\\ud800"
