"""What cannot be is refused, with the cause and the next move, and nothing of it is kept."""

import asyncio
import re
from dataclasses import dataclass
from datetime import timedelta

import pytest

from errands import (
    App,
    ArgumentsRefused,
    Event,
    EventRefused,
    InvalidConfig,
    JobNotFound,
    NotInRun,
    Retries,
    ValueTooLarge,
    current_run,
    step,
)
from errands.testing import Harness

LARGE = "x" * 300_000


class Ordered(Event, name="ordered"):
    order_id: str
    cents: int = 0


@dataclass
class Point:
    x: int


# -- sending -------------------------------------------------------------------------------------


def shop() -> App:
    app = App("shop")

    @app.function(on=Ordered)
    async def ship(event: Ordered) -> None: ...

    return app


@pytest.mark.parametrize(
    ("event", "told"),
    [
        (
            Ordered(order_id=LARGE),
            r"ordered.*300,0\d\d bytes as JSON; the limit is 262,144.*object",
        ),
        (
            Ordered(order_id=7),  # type: ignore[arg-type] # pyright: ignore
            r"'ordered' does not fit its class: Expected `str`.*order_id.*Nothing was sent",
        ),
        (
            {"name": "ordered", "data": {"order_id": "o1", "cents": "many"}},
            r"Expected `int`, got `str` - at `\$\.cents`",
        ),
        ({"name": "ordered", "data": {}}, r"order_id"),
        ({"name": "", "data": {}}, r"name"),
        ({"data": {}}, r"name"),
        ({"name": "x", "data": {"at": object()}}, r"x.*object"),
        ({"name": "x", "data": [1]}, r"data"),
        ({"name": "x", "data": {}, "colour": 1}, r"colour"),
        (7, r"int"),
    ],
)
async def test_a_wrong_event_is_refused_and_nothing_of_its_send_is_accepted(
    event: object, told: str
) -> None:
    app = shop()
    async with Harness(app) as harness:
        with pytest.raises((EventRefused, ValueTooLarge), match=f"(?s){told}"):
            await app.send([Ordered(order_id="good"), event])  # type: ignore[list-item] # pyright: ignore
        await harness.finish()
        assert harness.sent == ()


async def test_arguments_that_the_signature_does_not_take_are_refused() -> None:
    app = App("shop")

    @app.job
    async def pay(order_id: str, cents: int = 0) -> None: ...

    async with Harness(app) as harness:
        with pytest.raises(ArgumentsRefused, match="pay"):
            await pay.enqueue()  # type: ignore[call-arg] # pyright: ignore
        with pytest.raises(ArgumentsRefused, match="tip"):
            await pay.enqueue("o1", tip=1)  # type: ignore[call-arg] # pyright: ignore
        with pytest.raises(ArgumentsRefused, match=r"'cents' of job 'pay'.*annotated int"):
            await pay.enqueue("o1", "many")  # type: ignore[arg-type] # pyright: ignore
        with pytest.raises(ValueTooLarge, match="262,144"):
            await pay.enqueue(LARGE)
        assert harness.runs(pay) == []


async def test_one_wrong_job_among_many_and_none_is_enqueued() -> None:
    app = App("shop")

    @app.job
    async def pay(order_id: str) -> None: ...

    async with Harness(app) as harness:
        with pytest.raises(ValueTooLarge):
            await app.enqueue_many(pay.bind(id) for id in ("o1", LARGE))
        with pytest.raises(InvalidConfig, match=r"no bound job.*job\.bind"):
            await app.enqueue_many([pay.bind("o1"), pay])  # type: ignore[list-item] # pyright: ignore
        assert harness.runs(pay) == []


async def test_unknown_ids_are_named() -> None:
    app = App("shop")

    @app.job
    async def pay() -> None: ...

    async with Harness(app):
        with pytest.raises(JobNotFound, match=r"No job '01ARZ3NDEKTSV4RRFFQ69G5FAV'.*ERRANDS_URL"):
            await app.jobs.get("01ARZ3NDEKTSV4RRFFQ69G5FAV")
        with pytest.raises(JobNotFound):
            await pay.job("").cancel()


# -- declaring -----------------------------------------------------------------------------------


def test_two_functions_of_one_id_are_refused_with_both_places() -> None:
    app = App("shop")

    @app.job
    async def pay() -> None: ...

    with pytest.raises(
        InvalidConfig, match=r"two functions with the id 'pay': at .*bad_input\.py:\d+ and.*Rename"
    ):

        @app.job(id="pay")
        async def another() -> None: ...


@pytest.mark.parametrize(
    ("declare", "told"),
    [
        (lambda app: app.job(lambda open: None), "id"),
        (lambda app: app.job(retries=-1)(ship), "retries.*0 to 1000"),
        (lambda app: app.job(retries=Retries(1, delay=5))(ship), r"delay.*bare number"),  # type: ignore[arg-type] # pyright: ignore
        (lambda app: app.job(colour="red")(ship), "unknown option colour"),
        (lambda app: app.job(durability="none")(ship), '"step" or "run"'),
        (lambda app: app.function(on="user/*/x")(ship), "a star stands at the end"),
        (lambda app: app.function(on=int)(ship), "is no event"),
        (lambda app: app.function(on=Ordered)(two), r"must take \(event\)"),
        (lambda app: App("a b"), "letters, digits"),
    ],
)
def test_what_cannot_be_declared_is_refused_at_import(declare: object, told: str) -> None:
    with pytest.raises(InvalidConfig, match=f"(?s){told}"):
        declare(App("shop"))  # type: ignore[operator] # pyright: ignore


async def ship(event: Ordered) -> None: ...


async def two(event: Ordered, another: Ordered) -> None: ...


# -- inside a run --------------------------------------------------------------------------------


async def failure_of(job_body: object, **options: object) -> str:
    """The error of a job that does this."""
    app = App("shop")
    executed: list[int] = []

    @app.job(id="work", **options)  # type: ignore[arg-type] # pyright: ignore
    async def work() -> object:
        executed.append(1)
        return await job_body()  # type: ignore[operator] # pyright: ignore

    async with Harness(app) as harness:
        await work.enqueue()
        await harness.settle()
        run = harness.run(work)
        assert run.status == "failed", run
        assert executed == [1], "a mistake in the code is not tried again"
        return run.error or ""


async def large() -> str:
    return LARGE


async def a_set() -> object:
    return object()


async def test_a_result_that_is_too_large_fails_the_run() -> None:
    error = await failure_of(large)
    assert re.match(r"ValueTooLarge: The result of 'work' is 300,002 bytes.*pass its key", error)


async def test_a_step_result_that_is_too_large_fails_the_run() -> None:
    async def body() -> None:
        await step.run("read", large)

    error = await failure_of(body)
    assert re.match(r"ValueTooLarge: The result of step 'read' is 300,002 bytes", error)


async def test_a_result_that_cannot_be_stored_fails_the_run() -> None:
    error = await failure_of(a_set)
    assert error.startswith("ValueNotStorable: The result of 'work'")


async def test_a_step_result_without_an_annotation_that_tells_its_type_fails_the_run() -> None:
    async def body() -> None:
        await step.run("point", lambda: Point(1))

    error = await failure_of(body)
    assert re.match(r"ValueNotStorable: The result of step 'point'.*Point.*returns=Point", error)


async def test_a_step_id_in_two_branches_fails_the_run() -> None:
    async def one() -> int:
        return 1

    async def body() -> None:
        await asyncio.gather(step.run("a", one), step.run("a", one))

    error = await failure_of(body)
    assert re.match(
        r"DuplicateStep: Step id 'a' is used in two parallel branches.*step\.map", error
    )


async def test_a_step_in_a_step_fails_the_run() -> None:
    async def one() -> int:
        return 1

    async def outer() -> int:
        return await step.run("inner", one)

    async def body() -> None:
        await step.run("outer", outer)

    error = await failure_of(body)
    assert re.match(r"NestedStep: Step 'inner' is asked for inside step 'outer'", error)


async def test_an_event_that_is_too_large_inside_a_run_says_so() -> None:
    async def body() -> None:
        await step.send_event("tell", Ordered(order_id=LARGE))

    assert "262,144" in await failure_of(body, retries=0)


async def test_a_bare_number_is_no_duration() -> None:
    async def body() -> None:
        await step.sleep("nap", 5)  # type: ignore[arg-type] # pyright: ignore

    error = await failure_of(body)
    assert re.match(r"InvalidConfig: .*nap.*bare number could be seconds or milliseconds", error)


async def test_waiting_outside_of_a_run_is_refused() -> None:
    for wait in (
        lambda: step.sleep("nap", timedelta(seconds=1)),
        lambda: step.wait_for_event("paid", Ordered, timeout="1h"),
        lambda: step.send_event("tell", Ordered(order_id="o1")),
    ):
        with pytest.raises(NotInRun, match=r"works only inside a run.*Harness"):
            await wait()
    with pytest.raises(NotInRun):
        current_run()


# -- code that has changed -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("now", "told"),
    [
        ("renamed", "has a result for step 'first', but the code now asks for 'fetch'"),
        ("gone", "has a result for step 'first', but the code now asks for 'nap'"),
        ("another kind", r"'first \(run\)', but the code now asks for 'first \(sleep\)'"),
        (
            "shorter",
            "has a result for step 'first', but the code now asks for 'the end of the function'",
        ),
    ],
)
async def test_a_history_that_no_longer_fits_fails_the_run_and_names_the_step(
    now: str, told: str
) -> None:
    app = App("shop")
    code = "as it was"

    async def one() -> int:
        return 1

    @app.job
    async def order() -> None:
        match code:
            case "as it was":
                await step.run("first", one)
            case "renamed":
                await step.run("fetch", one)
            case "another kind":
                await step.sleep("first", "1h")
            case "shorter":
                return
            case _:
                pass
        await step.sleep("nap", "1h")

    async with Harness(app) as harness:
        await order.enqueue()
        await harness.settle()
        code = now
        harness.crash()
        await harness.finish()
        error = harness.run(order).error or ""

    assert re.match(f"HistoryMismatch: Run {harness_id(error)} .*{told}", error.replace('"', "'"))
    assert "until the runs in flight have ended, or cancel the run" in error


def harness_id(error: str) -> str:
    found = re.search(r"Run (\w{26})", error)
    return found[1] if found else "?"


async def test_arguments_that_no_longer_fit_fail_the_run() -> None:
    app = App("shop")

    @app.job
    async def order(order_id: str) -> None: ...

    async with Harness(app) as harness:
        await order.with_options(delay="1h").enqueue("o1")
        await harness.settle()

        # The next release of the app, on the same store.
        later = App("shop")

        @later.job(id="order")
        async def changed(order_id: str, cents: int) -> None: ...

        app.definitions["order"] = later.definitions["order"]
        await harness.finish()
        error = harness.run(order).error or ""

    assert re.match(r"InputMismatch: Run \w{26} was started with these arguments.*cents", error)
