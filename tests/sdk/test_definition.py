"""From what a run was started with to the handler's arguments."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

import errands.pydantic
from errands import AnyEvent, App, Event, Failure, InputMismatch, InvalidConfig, Middleware, Trigger
from errands.model.call import Call
from errands.model.event import Event as StoredEvent
from errands.model.function import Function, FunctionKind
from errands.model.ids import EventId, FunctionId, RunId, make_id
from errands.model.item import Item, Place
from errands.model.run import Run
from errands.sdk.definition import Definition, KeptFailure, invocation
from errands.sdk.function import definition_of_function
from errands.sdk.job import definition_of_job

NOW_MS = 1_767_225_600_000
NOW = datetime(2026, 1, 1, tzinfo=UTC)
RUN_ID = RunId(make_id(NOW_MS, 0, 1))


class SignedUp(Event, name="user/signed.up"):
    user_id: str
    plan: str = "free"


class Deleted(Event, name="user/deleted"):
    user_id: str


class Modelled(errands.pydantic.Event, name="user/modelled"):
    user_id: str


def app_of() -> App:
    return App("shop")


def call_of(
    definition: Definition,
    *,
    event: StoredEvent | None = None,
    input: bytes | None = None,
    origin: Run | None = None,
) -> Call:
    item = Item(RUN_ID, FunctionId(1), Place.RUNNING, NOW_MS)
    run = Run(RUN_ID, FunctionId(1), None if event is None else event.id, input)
    function = Function(FunctionId(1), "shop", definition.config)
    return Call(item, run, event, function, origin)


def event_of(name: str, data: bytes, key: str | None = None) -> StoredEvent:
    return StoredEvent(EventId(7), name, data, NOW_MS, key)


def public_id(number: int) -> str:
    return f"id-{number}"


def arguments(definition: Definition, **given: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    return definition.arguments(call_of(definition, **given), public_id)


def one_event(definition: Definition, **given: Any) -> Any:
    (event,), kwargs = arguments(definition, **given)
    assert kwargs == {}
    return event


# -- functions
# ---------------------------------------------------------------------------------------


def handled(on: Any) -> Definition:
    @app_of().function(on=on)
    async def handler(event: Any) -> None: ...

    return definition_of_function(handler)


def test_an_event_comes_as_its_class() -> None:
    event = one_event(handled(SignedUp), event=event_of("user/signed.up", b'{"user_id":"u1"}'))

    assert event == SignedUp(user_id="u1")
    assert (event.envelope.id, event.envelope.ts) == ("id-7", NOW)


def test_the_senders_own_id_is_the_events_id() -> None:
    event = event_of("user/signed.up", b'{"user_id":"u1"}', key="k")

    assert one_event(handled(SignedUp), event=event).envelope.id == "k"


def test_several_triggers_are_told_apart_by_name() -> None:
    definition = handled((SignedUp, Trigger(Deleted, if_exp="event.data.user_id != ''"), "file/*"))
    data = b'{"user_id":"u1"}'

    kinds = [
        type(one_event(definition, event=event_of(name, data)))
        for name in ("user/signed.up", "user/deleted", "file/arrived")
    ]

    assert kinds == [SignedUp, Deleted, AnyEvent]


def test_a_pydantic_event_comes_as_its_class() -> None:
    event = one_event(handled(Modelled), event=event_of("user/modelled", b'{"user_id":"u1"}'))

    assert event == Modelled(user_id="u1")
    assert event.envelope.id == "id-7"


def test_a_plain_name_gives_any_event() -> None:
    event = one_event(handled("user/signed.up"), event=event_of("user/signed.up", b'{"a":1}'))

    assert event.data == {"a": 1}


def test_an_invoked_function_gets_the_event_it_was_given() -> None:
    app = app_of()
    given_event = app.new_event(SignedUp(user_id="u1").with_options(user={"ip": "::1"}))

    event = one_event(handled(SignedUp), input=invocation(given_event))

    assert event == SignedUp(user_id="u1")
    assert (event.envelope.id, event.envelope.ts) == (f"id-{RUN_ID}", NOW)
    assert event.envelope.user == {"ip": "::1"}


def test_a_function_invoked_by_id_needs_no_event_name() -> None:
    assert one_event(handled(SignedUp), input=b'{"data":{"user_id":"u1"}}').user_id == "u1"


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ({"event": event_of("user/signed.up", b"{}")}, "this event.*user_id"),
        ({"event": event_of("user/signed.up", b'{"user_id":1}')}, "this event.*user_id"),
        ({"event": event_of("user/other", b"{}")}, "no trigger of it names event 'user/other'"),
        ({"input": b'{"data":{}}'}, "these arguments.*user_id"),
        ({}, "its event is not there any more"),
    ],
)
def test_what_no_longer_fits_fails_the_run_at_once(given: dict[str, Any], why: str) -> None:
    with pytest.raises(InputMismatch, match=why) as caught:
        arguments(handled(SignedUp), **given)

    assert caught.value.fails_run_at_once
    assert f"Run id-{RUN_ID} " in str(caught.value)


# -- jobs
# --------------------------------------------------------------------------------------------


def test_a_job_gets_its_arguments() -> None:
    @app_of().job
    def report(report_id: str, *, pages: int = 3) -> str:
        return report_id

    definition = definition_of_job(report)

    assert arguments(definition, input=b'{"report_id":"r1","pages":4}') == (("r1",), {"pages": 4})
    assert not definition.is_async
    assert definition.result_codec.hint is str
    with pytest.raises(InputMismatch, match="'pages'"):
        arguments(definition, input=b'{"report_id":"r1","pages":"x"}')


# -- failure handlers
# --------------------------------------------------------------------------------

KEPT = KeptFailure(
    "CardDeclined",
    "no funds",
    "Traceback …",
    bases=("Exception",),
    attempts=4,
    run_id="01J",
    function_id="shop/pay",
    failed_at=NOW_MS,
)


def check_failure(failure: Failure) -> None:
    assert (failure.run_id, failure.function_id, failure.failed_at) == ("01J", "shop/pay", NOW)
    assert (failure.name, failure.message, failure.attempts) == ("CardDeclined", "no funds", 4)
    assert failure.was(Exception)
    assert not failure.was(ValueError)


def test_a_failure_handler_gets_the_failure_and_the_event() -> None:
    app = app_of()

    @app.function(on=SignedUp)
    async def pay(event: SignedUp) -> None: ...

    @pay.on_failure
    async def tell(failure: Failure, event: SignedUp) -> None: ...

    definition = app.definitions["pay/on_failure"]
    origin = Run(RunId(5), FunctionId(2), EventId(7))
    stored = event_of("user/signed.up", b'{"user_id":"u1"}')

    (failure, event), _ = arguments(
        definition, event=stored, input=msgspec.json.encode(KEPT), origin=origin
    )

    check_failure(failure)
    assert event == SignedUp(user_id="u1")
    assert definition.config.kind is FunctionKind.FAILURE


def test_a_failure_handler_of_an_invoked_run_gets_what_that_was_given() -> None:
    app = app_of()

    @app.function(on=SignedUp)
    async def pay(event: SignedUp) -> None: ...

    @pay.on_failure
    async def tell(failure: Failure, event: SignedUp) -> None: ...

    origin = Run(
        RunId(5), FunctionId(2), input=b'{"name":"user/signed.up","data":{"user_id":"u1"}}'
    )

    (_, event), _ = arguments(
        app.definitions["pay/on_failure"], input=msgspec.json.encode(KEPT), origin=origin
    )

    assert event == SignedUp(user_id="u1")
    assert event.envelope.id == "id-5"


def test_a_failure_handler_of_a_job_gets_the_jobs_arguments() -> None:
    app = app_of()

    @app.job
    def pay(order: str, *, cents: int = 0) -> None: ...

    @pay.on_failure
    async def tell(failure: Failure, order: str, *, cents: int = 0) -> None: ...

    origin = Run(RunId(5), FunctionId(2), input=b'{"order":"o1","cents":3}')

    (failure, order), kwargs = arguments(
        app.definitions["pay/on_failure"], input=msgspec.json.encode(KEPT), origin=origin
    )

    check_failure(failure)
    assert (order, kwargs) == ("o1", {"cents": 3})


def test_the_apps_failure_handler_gets_the_failure_alone() -> None:
    app = app_of()

    @app.on_failure
    async def alarm(failure: Failure) -> None: ...

    (failure,), _ = arguments(app.definitions["on_failure"], input=msgspec.json.encode(KEPT))

    check_failure(failure)


def test_each_function_names_the_handlers_of_its_failures() -> None:
    app = app_of()

    @app.job
    def pay(order: str) -> None: ...

    @app.on_failure
    async def alarm(failure: Failure) -> None: ...

    @app.job
    def other() -> None: ...

    @pay.on_failure
    async def tell(failure: Failure, order: str) -> None: ...

    handlers = {one.slug: one.on_failure for one in app.config().functions}

    assert handlers == {
        "pay": ("pay/on_failure", "on_failure"),
        "on_failure": (),
        "other": ("on_failure",),
        "pay/on_failure": ("on_failure",),
    }


# -- what is refused at import
# -----------------------------------------------------------------------


def no_argument() -> None: ...
def two_arguments(a: int, b: int) -> None: ...
def generator(event: Any) -> Any:
    yield event


async def async_generator(event: Any) -> Any:
    yield event


@pytest.mark.parametrize("handler", [no_argument, two_arguments, generator, async_generator])
def test_handlers_that_cannot_be_are_refused(handler: Callable[..., Any]) -> None:
    with pytest.raises(InvalidConfig, match=handler.__name__):
        app_of().function(on=SignedUp)(handler)


def test_failure_handlers_must_take_what_they_get() -> None:
    app = app_of()

    @app.job
    def pay(order: str, *, cents: int = 0) -> None: ...

    wrong: Any = no_argument
    with pytest.raises(InvalidConfig, match="failure handler of 'pay'"):
        pay.on_failure(wrong)
    with pytest.raises(InvalidConfig, match="app's failure handler"):
        app.on_failure(wrong)


@pytest.mark.parametrize("id", ["", "a/b", "a b", "x" * 201, "ä", 3])
def test_ids_that_cannot_be_are_refused(id: Any) -> None:
    with pytest.raises(InvalidConfig, match="id cannot be"):
        app_of().job(id=id)(no_argument)
    with pytest.raises(InvalidConfig, match="id cannot be"):
        App(id)


def test_a_lambda_needs_an_id() -> None:
    app = app_of()
    with pytest.raises(InvalidConfig, match="<lambda>"):
        app.job()(lambda: 3)

    assert app.job(id="three")(lambda: 3)() == 3


def test_a_duplicate_id_names_both_places() -> None:
    app = app_of()
    app.job(id="same")(no_argument)

    with pytest.raises(
        InvalidConfig, match=r"test_definition\.py:\d+ and at .*test_definition\.py:\d+"
    ):
        app.job(id="same")(two_arguments)


def test_two_classes_for_one_event_are_refused() -> None:
    class Other(Event, name="user/signed.up"): ...

    app = app_of()
    app.function(on=SignedUp)(lambda_handler)

    with pytest.raises(InvalidConfig, match=r"SignedUp and .*Other"):
        app.function(on=Other, id="other")(lambda_handler)


def lambda_handler(event: Any) -> None: ...


@pytest.mark.parametrize(
    "options", [{"retrys": 3}, {"retries": -1}, {"durability": "never"}, {"concurrency": 3}]
)
def test_options_that_cannot_be_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(InvalidConfig):
        app_of().job(**options)(no_argument)


@pytest.mark.parametrize("on", [(), 3, "", (SignedUp, 3)])
def test_triggers_that_cannot_be_are_refused(on: Any) -> None:
    with pytest.raises(InvalidConfig):
        app_of().function(on=on)(lambda_handler)


def test_the_middleware_of_the_app_is_outside_the_functions_own() -> None:
    outer, inner = Middleware(), Middleware()
    app = App("shop", middleware=[outer])

    job = app.job(middleware=[inner])(no_argument)

    assert definition_of_job(job).middleware == (outer, inner)


class AsyncCallable:
    __name__ = "async_callable"

    async def __call__(self, event: Any) -> int:
        return 3


def test_an_object_with_an_async_call_is_async() -> None:
    definition = definition_of_function(app_of().function(on=SignedUp)(AsyncCallable()))

    assert definition.is_async
    assert definition.result_codec.hint is int
