"""An event starts the functions that are triggered by it."""

from datetime import timedelta

from errands import AnyEvent, App, Event, Trigger, current_run, step
from errands.testing import Harness


class SignedUp(Event, name="user/signed.up"):
    user_id: str
    plan: str = "free"


class Left(Event, name="user/left"):
    user_id: str


async def test_event_starts_a_run_whose_result_is_kept() -> None:
    app = App("shop")

    async def find(user_id: str) -> str:
        return f"Ada ({user_id})"

    @app.function(on=SignedUp)
    async def welcome(event: SignedUp) -> str:
        return await step.run("find", find, event.user_id)

    async with Harness(app) as harness:
        await app.send(SignedUp(user_id="u1"))
        await harness.settle()
        assert harness.run(welcome).result == "Ada (u1)"
        assert harness.run(welcome).steps["find"].result == "Ada (u1)"


async def test_the_function_gets_the_event_with_its_envelope() -> None:
    app = App("shop")
    got: list[SignedUp] = []

    @app.function(on=SignedUp)
    async def note(event: SignedUp) -> str:
        got.append(event)
        return current_run().id

    async with Harness(app) as harness:
        event_id = await app.send(SignedUp(user_id="u1").with_options(user={"id": 7}))
        await harness.settle()
        assert harness.run(note).result == harness.run(note).id

    assert got == [SignedUp(user_id="u1")]
    assert got[0].envelope.id == event_id
    assert got[0].envelope.user == {"id": 7}


async def test_plain_functions_are_started_too() -> None:
    app = App("shop")

    @app.function(on=SignedUp)
    def welcome(event: SignedUp) -> str:
        return event.user_id

    async with Harness(app) as harness:
        await app.send(SignedUp(user_id="u1"))
        await harness.settle()
        assert harness.run(welcome).result == "u1"


async def test_one_event_starts_every_function_that_wants_it() -> None:
    app = App("shop")

    @app.function(on=SignedUp)
    async def first(event: SignedUp) -> int:
        return 1

    @app.function(on="user/*")
    async def second(event: AnyEvent) -> str:
        return event.envelope.name

    async with Harness(app) as harness:
        await app.send(SignedUp(user_id="u1"))
        await harness.settle()
        assert harness.run(first).result == 1
        assert harness.run(second).result == "user/signed.up"


async def test_a_wildcard_with_a_condition_starts_what_fits_both() -> None:
    app = App("shop")

    @app.function(on=Trigger("user/*", if_exp="event.data.plan == 'pro'"))
    async def bonus(event: AnyEvent) -> str:
        return event.data["user_id"]

    async with Harness(app) as harness:
        await app.send(
            [
                SignedUp(user_id="u1", plan="pro"),
                SignedUp(user_id="u2"),
                Left(user_id="u3"),  # has no plan: no match
                {"name": "usher", "data": {"plan": "pro", "user_id": "u4"}},
            ]
        )
        await harness.settle()
        assert harness.run(bonus).result == "u1"


async def test_a_condition_may_be_a_lambda_over_the_event() -> None:
    app = App("shop")

    @app.function(on=Trigger(SignedUp, if_exp=lambda event: event.plan == "pro"))
    async def bonus(event: SignedUp) -> str:
        return event.user_id

    async with Harness(app) as harness:
        await app.send([SignedUp(user_id="u1"), SignedUp(user_id="u2", plan="pro")])
        await harness.settle()
        assert harness.run(bonus).result == "u2"


async def test_several_triggers_start_one_function_each_as_its_class() -> None:
    app = App("shop")

    @app.function(on=(SignedUp, Trigger(Left, if_exp=lambda event: event.user_id != "u9")))
    async def count(event: SignedUp | Left) -> str:
        return type(event).__name__

    async with Harness(app) as harness:
        await app.send([SignedUp(user_id="u1"), Left(user_id="u2"), Left(user_id="u9")])
        await harness.settle()
        assert [run.result for run in harness.runs(count)] == ["SignedUp", "Left"]


async def test_an_event_that_fits_two_triggers_of_a_function_starts_it_once() -> None:
    app = App("shop")

    @app.function(on=(SignedUp, "user/*"))
    async def note(event: SignedUp | AnyEvent) -> str:
        return event.envelope.name

    async with Harness(app) as harness:
        await app.send(SignedUp(user_id="u1"))
        await harness.settle()
        assert harness.run(note).result == "user/signed.up"


async def test_an_event_that_nobody_wants_starts_nothing() -> None:
    app = App("shop")

    @app.function(on=SignedUp)
    async def welcome(event: SignedUp) -> None: ...

    async with Harness(app) as harness:
        await app.send({"name": "weather/changed", "data": {}})
        await harness.settle()
        assert harness.runs(welcome) == []
        assert [event.envelope.name for event in harness.sent] == ["weather/changed"]


async def test_an_event_in_the_future_starts_its_runs_then() -> None:
    app = App("shop")

    @app.function(on=SignedUp)
    async def welcome(event: SignedUp) -> None: ...

    async with Harness(app) as harness:
        tomorrow = harness.now + timedelta(days=1)
        await app.send(SignedUp(user_id="u1").with_options(ts=tomorrow))
        await harness.settle()
        assert harness.run(welcome).status == "pending"
        assert harness.run(welcome).waiting_for == "its start at 2026-01-02T00:00:00Z"

        await harness.advance("1 day")
        assert harness.run(welcome).status == "completed"
