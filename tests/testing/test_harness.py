"""`Harness`: time that a test moves, over the real engine and a real store."""

import asyncio
import os
import threading
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pytest

from errands import (
    App,
    Event,
    InvalidConfig,
    NotInRun,
    ResultTimeout,
    RetryAfterError,
    StepError,
    Unavailable,
    step,
    sync,
)
from errands.testing import Harness


class SignedUp(Event, name="user/signed.up"):
    user_id: str
    email: str


@dataclass
class User:
    name: str


class Shop:
    """A shop's app, and what it did."""

    def __init__(self) -> None:
        self.did: list[str] = []
        self.app = App("shop")

        async def find_user(user_id: str) -> User:
            self.did.append(f"find {user_id}")
            return User("Ada")

        def send_email(to: str, template: str) -> None:
            self.did.append(f"{template} to {to}")

        @self.app.function(on=SignedUp)
        async def welcome(event: SignedUp) -> dict[str, bool]:
            user = await step.run("get-user", find_user, event.user_id)
            assert user.name == "Ada"
            await step.run("send-email", send_email, event.email, "welcome")
            await step.sleep("wait-for-followup", "3 days")
            await step.run("send-followup", send_email, event.email, "follow-up")
            return {"sent": True}

        @self.app.job
        async def nap(duration: str) -> str:
            await step.sleep("nap", duration)
            return f"slept {duration}"

        self.welcome, self.nap = welcome, nap


ADA = SignedUp(user_id="u1", email="ada@example.com")


@pytest.fixture
def shop() -> Shop:
    return Shop()


@pytest.fixture
def errands_app(shop: Shop) -> App:
    return shop.app


# -- time ----------------------------------------------------------------------------------------


async def test_three_days_pass_in_milliseconds(shop: Shop, harness: Harness) -> None:
    started = time.perf_counter()
    await shop.app.send(ADA)
    await harness.settle()
    run = harness.run(shop.welcome)
    assert list(run.steps) == ["get-user", "send-email"]
    assert run.waiting_for == "sleep 'wait-for-followup' until 2026-01-04T00:00:00Z"
    began = harness.now

    await harness.advance("3 days")

    assert run.result == {"sent": True}
    assert shop.did == ["find u1", "welcome to ada@example.com", "follow-up to ada@example.com"]
    assert harness.now - began == timedelta(days=3)
    assert time.perf_counter() - started < 5


async def test_nothing_wakes_a_moment_too_early(shop: Shop, harness: Harness) -> None:
    job = await shop.nap.enqueue("3 days")

    await harness.advance(timedelta(days=3) - timedelta(milliseconds=1))
    assert (await job.status()).status == "processing"

    await harness.advance("1ms")
    assert (await job.status()).status == "completed"


async def test_each_timer_rings_at_its_exact_time_and_in_order() -> None:
    app = App("clockwork")
    rang: list[tuple[str, timedelta]] = []

    @app.job
    async def alarm(name: str, first: str, second: str) -> None:
        for n, duration in enumerate((first, second)):
            await step.sleep(f"sleep {n}", duration)
            rang.append((f"{name}{n}", harness.now - began))

    async with Harness(app) as harness:
        began = harness.now
        for name, first, second in (("a", "2h", "3h"), ("b", "90m", "1h"), ("c", "4h", "1ms")):
            await alarm.enqueue(name, first, second)
        await harness.advance("10h")

    hours = [(name, at / timedelta(hours=1)) for name, at in rang]
    moment = timedelta(milliseconds=1) / timedelta(hours=1)
    assert hours == [("b0", 1.5), ("a0", 2), ("b1", 2.5), ("c0", 4), ("c1", 4 + moment), ("a1", 5)]


async def test_time_never_goes_back(shop: Shop, harness: Harness) -> None:
    seen = [harness.now]
    for duration in ("0s", "1ms", "2 days"):
        await shop.nap.enqueue("1 day")
        await harness.advance(duration)
        seen.append(harness.now)
    await harness.finish()

    assert [*seen, harness.now] == sorted([*seen, harness.now])


async def test_finish_stops_when_the_last_run_has_ended(shop: Shop, harness: Harness) -> None:
    began = harness.now
    await shop.nap.enqueue("2h")
    await shop.nap.enqueue("36h")

    await harness.finish()

    assert [run.status for run in harness.runs(shop.nap)] == ["completed", "completed"]
    assert harness.now - began == timedelta(hours=36)


async def test_a_test_may_choose_what_time_it_is(shop: Shop) -> None:
    eve = datetime(2027, 12, 31, 23, 59, tzinfo=UTC)
    async with Harness(shop.app, now=eve) as harness:
        await shop.nap.enqueue("1m")
        await harness.finish()
        assert harness.now == datetime(2028, 1, 1, tzinfo=UTC)


async def test_the_same_seed_gives_the_same_jitter() -> None:
    async def first_retry(seed: int) -> timedelta:
        shop = Shop()
        async with Harness(shop.app, seed=seed) as harness:
            began = harness.now
            harness.fail_step(shop.welcome, "get-user")
            await shop.app.send(ADA)
            await harness.finish()
            finished = harness.run(shop.welcome).steps["get-user"].finished_at
            assert finished is not None
            return finished - began

    assert await first_retry(1) == await first_retry(1) != await first_retry(2)


# -- coming to rest ------------------------------------------------------------------------------


async def test_settle_waits_for_real_input_and_output() -> None:
    app = App("net")

    async def fetch(port: int) -> str:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"what is the time?\n")
        answer = await reader.readline()
        writer.close()
        await writer.wait_closed()
        return answer.decode().strip()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readline()
        await asyncio.sleep(0.2)
        writer.write(b"late\n")
        await writer.drain()
        writer.close()

    @app.job
    async def ask(port: int) -> str:
        return await step.run("fetch", fetch, port)

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server, Harness(app) as harness:
        await ask.enqueue(server.sockets[0].getsockname()[1])
        await harness.settle()
        assert harness.run(ask).result == "late"


async def test_settle_waits_for_threads() -> None:
    app = App("threads")

    def slow_step(seconds: float) -> str:
        time.sleep(seconds)
        return threading.current_thread().name

    @app.job
    def plain(seconds: float) -> list[str]:
        time.sleep(seconds)
        return [threading.current_thread().name, sync(step.run("slow", slow_step, seconds))]

    async with Harness(app) as harness:
        await plain.enqueue(0.1)
        await harness.settle()
        ran_in = harness.run(plain).result

    assert [name.rsplit("_", 1)[0] for name in ran_in] == ["errands-function", "errands-step"]


async def test_settle_waits_for_what_one_run_starts_after_another() -> None:
    app = App("chain")

    @app.job
    async def count_down(n: int) -> int:
        return 0 if n == 0 else 1 + await step.invoke("next", count_down, n - 1)

    async with Harness(app) as harness:
        await count_down.enqueue(30)
        await harness.settle()
        assert harness.runs(count_down)[0].result == 30
        assert len(harness.runs(count_down)) == 31


async def test_a_step_that_never_returns_is_named() -> None:
    app = App("stuck")
    never: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def listen() -> None:
        await never

    @app.job
    async def hang() -> None:
        await step.run("listen", listen)

    async with Harness(app) as harness:
        harness.settle_seconds = 0.1
        await hang.enqueue()
        with pytest.raises(AssertionError) as failed:
            await harness.settle()

    text = str(failed.value)
    assert "After 0.1 s of real time something still executes" in text
    assert "of 'hang' is processing: it executes step 'listen' (attempt 1) at " in text
    assert "test_harness.py" in text


# -- jobs, from where the test stands ------------------------------------------------------------


async def test_a_result_arrives_while_time_is_moved(shop: Shop, harness: Harness) -> None:
    job = await shop.nap.enqueue("3 days")
    waiting = asyncio.create_task(job.result(timeout="4 days"))

    await harness.advance("3 days")

    assert await waiting == "slept 3 days"


async def test_a_result_is_late_by_the_time_of_the_harness(shop: Shop, harness: Harness) -> None:
    job = await shop.nap.enqueue("3 days")
    waiting = asyncio.create_task(job.result(timeout="1 day"))

    await harness.advance("1 day")

    with pytest.raises(ResultTimeout):
        await waiting


async def test_waiting_for_what_only_time_can_bring_is_an_error(
    shop: Shop, harness: Harness
) -> None:
    job = await shop.nap.enqueue("3 days")

    with pytest.raises(AssertionError, match=r"sleep 'nap' until 2026-01-04.*harness\.advance"):
        await job.result()


async def test_plain_code_in_a_thread_reaches_the_harness(shop: Shop, harness: Harness) -> None:
    def view() -> str:
        job = sync(shop.nap.enqueue("0s"))
        return sync(job.result())

    assert await asyncio.to_thread(view) == "slept 0s"


async def test_a_worker_of_the_app_is_the_harness_itself(shop: Shop, harness: Harness) -> None:
    async with shop.app.worker():
        job = await shop.nap.enqueue("0s")
        assert await job.result() == "slept 0s"


# -- steps, as the test wants them ---------------------------------------------------------------


async def test_a_flaky_step_is_tried_again(shop: Shop, harness: Harness) -> None:
    harness.fail_step(shop.welcome, "send-email", times=2, error=ConnectionError("no route"))
    await shop.app.send(ADA)
    await harness.settle()
    run = harness.run(shop.welcome)
    assert run.steps["send-email"].error == "ConnectionError: no route"
    assert run.steps["send-email"].finished_at is None
    assert (run.waiting_for or "").startswith("attempt 2 of step 'send-email' at 2026-01-01T00:00:")

    await harness.finish()

    assert run.steps["send-email"].attempts == 3
    assert run.steps["send-email"].error is None
    assert shop.did.count("welcome to ada@example.com") == 1


async def test_a_step_that_fails_for_good_ends_its_run(shop: Shop, harness: Harness) -> None:
    harness.fail_step(shop.welcome, "send-email", times=9)
    await shop.app.send(ADA)
    await harness.finish()

    run = harness.run(shop.welcome)
    assert run.status == "failed"
    assert run.error == "RuntimeError: step 'send-email' was made to fail by the test"
    assert run.steps["send-email"].attempts == 4


async def test_an_error_that_says_when_is_heeded(shop: Shop, harness: Harness) -> None:
    harness.fail_step(shop.welcome, "get-user", error=RetryAfterError("busy", "10m"))
    await shop.app.send(ADA)
    await harness.settle()

    waits = harness.run(shop.welcome).waiting_for
    assert (
        waits == "attempt 2 of step 'get-user' at 2026-01-01T00:10:00Z, after RetryAfterError: busy"
    )


async def test_a_faked_step_gives_its_result_and_never_executes(
    shop: Shop, harness: Harness
) -> None:
    harness.fake_step(shop.welcome, "get-user", User("Ada"))
    await shop.app.send(ADA)
    await harness.finish()

    assert harness.run(shop.welcome).result == {"sent": True}
    assert harness.run(shop.welcome).steps["get-user"].result == {"name": "Ada"}
    assert "find u1" not in shop.did


async def test_a_fake_that_the_step_cannot_give_fails_the_run(shop: Shop, harness: Harness) -> None:
    harness.fake_step(shop.welcome, "get-user", 7)
    await shop.app.send(ADA)
    await harness.finish()

    assert "ValueNotStorable" in (harness.run(shop.welcome).error or "")


# -- crashes -------------------------------------------------------------------------------------


async def test_a_crash_in_the_middle_of_a_wait_changes_nothing(
    shop: Shop, harness: Harness
) -> None:
    await shop.app.send(ADA)
    await harness.advance("2 days")

    harness.crash()
    await harness.advance("1 day")

    assert harness.run(shop.welcome).result == {"sent": True}
    assert shop.did == ["find u1", "welcome to ada@example.com", "follow-up to ada@example.com"]


async def test_a_step_that_a_crash_cuts_off_is_executed_again() -> None:
    app = App("crashing")
    did: list[str] = []

    async def pay() -> str:
        did.append("pay")
        if len(did) == 1:
            harness.crash()
            await asyncio.sleep(0)
        return f"receipt {len(did)}"

    @app.job
    async def order() -> str:
        try:
            return await step.run("pay", pay)
        finally:
            did.append("cleaned up")

    async with Harness(app) as harness:
        await order.enqueue()
        await harness.finish()
        run = harness.run(order)
        assert run.result == "receipt 2"
        assert run.steps["pay"].attempts == 1  # a crash costs no attempt

    assert did == ["pay", "pay", "cleaned up"]


async def test_a_thread_that_outlives_a_crash_is_refused() -> None:
    app = App("crashing")
    did: list[str] = []

    def pay() -> str:
        did.append("pay")
        mine = len(did)
        if mine == 1:
            harness.crash()
        return f"receipt {mine}"

    @app.job
    async def order() -> str:
        return await step.run("pay", pay)

    async with Harness(app) as harness:
        await order.enqueue()
        await harness.finish()
        assert harness.run(order).result == "receipt 2"


async def test_what_was_not_accepted_before_a_crash_is_refused(
    shop: Shop, harness: Harness
) -> None:
    await harness.settle()
    sending = asyncio.create_task(shop.app.send(ADA))
    await asyncio.sleep(0)

    harness.crash()

    with pytest.raises(Unavailable, match="killed before this was accepted"):
        await sending
    await harness.finish()
    assert harness.runs(shop.welcome) == []


async def test_three_crashes_in_a_row_end_a_run() -> None:
    app = App("crashing")

    async def die() -> None:
        harness.crash()
        await asyncio.sleep(0)

    @app.job
    async def poisoned() -> None:
        await step.run("die", die)

    async with Harness(app) as harness:
        await poisoned.enqueue()
        await harness.finish()
        assert "Crashed: The worker died 3 times" in (harness.run(poisoned).error or "")


# -- what happened -------------------------------------------------------------------------------


async def test_sent_has_the_events_of_the_test_and_of_functions() -> None:
    app = App("events")

    class Asked(Event, name="asked"):
        n: int

    class Answered(Event, name="answered"):
        n: int

    @app.function(on=Asked)
    async def answer(event: Asked) -> None:
        await step.send_event("answer", [Answered(n=event.n), {"name": "other", "data": {"a": 1}}])

    @app.function(on=Answered)
    async def hear(event: Answered) -> None: ...

    async with Harness(app) as harness:
        await app.send(Asked(n=1).with_options(id="a1"))
        await harness.settle()
        asked, answered, other = harness.sent

    assert isinstance(asked, Asked)
    assert asked.envelope.id == "a1"
    assert asked.envelope.ts == datetime(2026, 1, 1, tzinfo=UTC)
    assert answered == Answered(n=1)
    assert other.envelope.name == "other"


async def test_steps_stand_in_order_of_start() -> None:
    app = App("order")

    async def give(n: int) -> int:
        await asyncio.sleep(0.02 / (n + 1))
        return n

    @app.job
    async def many() -> None:
        await step.run("z", give, 9)
        await asyncio.gather(*(step.run(name, give, n) for n, name in enumerate("ca")))
        await step.sleep("b", "1s")
        await step.send_event("0", {"name": "done", "data": {}})

    async with Harness(app) as harness:
        await many.enqueue()
        await harness.finish()
        assert list(harness.run(many).steps) == ["z", "c", "a", "b", "0"]


async def test_a_step_tells_when_it_ended(shop: Shop, harness: Harness) -> None:
    await shop.app.send(ADA)
    await harness.finish()

    steps = harness.run(shop.welcome).steps
    assert steps["send-email"].finished_at == datetime(2026, 1, 1, tzinfo=UTC)
    assert steps["send-followup"].finished_at == datetime(2026, 1, 4, tzinfo=UTC)


async def test_the_result_of_a_run_that_waits_says_for_what(shop: Shop, harness: Harness) -> None:
    await shop.nap.enqueue("1 day")
    await harness.settle()

    with pytest.raises(
        AssertionError,
        match=r"Run \w{26} of 'nap' is processing: it waits for sleep 'nap' until "
        r"2026-01-02T00:00:00Z; it has no result\.",
    ):
        _ = harness.run(shop.nap).result


async def test_the_result_of_a_failed_run_says_why(shop: Shop, harness: Harness) -> None:
    harness.fail_step(shop.welcome, "get-user", times=9, error=LookupError("no user u1"))
    await shop.app.send(ADA)
    await harness.finish()

    with pytest.raises(AssertionError, match="of 'welcome' has failed: LookupError: no user u1"):
        _ = harness.run(shop.welcome).result


async def test_run_says_that_there_is_none(shop: Shop, harness: Harness) -> None:
    await shop.app.send({"name": "user/left", "data": {}})

    with pytest.raises(
        AssertionError, match=r"no run of 'welcome' at 2026-01-01T00:00:00Z.*so far: 'user/left'"
    ):
        harness.run(shop.welcome)


async def test_run_says_that_there_are_several(shop: Shop, harness: Harness) -> None:
    await app_send_twice(shop)

    with pytest.raises(AssertionError, match=r"There are 2 runs of 'welcome'.*harness\.runs"):
        harness.run(shop.welcome)


async def app_send_twice(shop: Shop) -> None:
    await shop.app.send([ADA, SignedUp(user_id="u2", email="bob@example.com")])


async def test_finish_names_what_does_not_end(shop: Shop, harness: Harness) -> None:
    await shop.nap.enqueue("30 days")

    with pytest.raises(
        AssertionError, match=r"(?s)ended after 7 days.*sleep 'nap' until 2026-01-31"
    ):
        await harness.finish(at_most="7 days")


@pytest.mark.parametrize("wrong", [7, "welcome", print])
async def test_only_functions_have_runs(harness: Harness, wrong: object) -> None:
    with pytest.raises(TypeError, match=r"no function of errands: pass what @app\.function or"):
        harness.runs(wrong)  # type: ignore[call-overload]  # pyright: ignore


async def test_a_function_of_another_app_is_refused(harness: Harness) -> None:
    with pytest.raises(ValueError, match="not of this harness's app, 'shop'"):
        harness.runs(Shop().nap)


# -- opening and closing -------------------------------------------------------------------------


async def test_two_harnesses_know_nothing_of_each_other(shop: Shop) -> None:
    for _ in range(2):
        async with Harness(shop.app) as harness:
            assert harness.runs(shop.nap) == []
            await shop.nap.enqueue("1s")
            await harness.finish()
            assert harness.run(shop.nap).result == "slept 1s"


async def test_two_apps_have_a_harness_each() -> None:
    first, second = Shop(), Shop()
    async with Harness(first.app) as one, Harness(second.app) as other:
        await first.nap.enqueue("1s")
        await one.finish()
        await other.finish()
        assert len(one.runs(first.nap)) == 1
        assert other.runs(second.nap) == []


async def test_afterwards_the_app_reaches_what_it_reached_before(shop: Shop) -> None:
    before = shop.app.backend
    async with Harness(shop.app):
        assert shop.app.backend is not before
    assert shop.app.backend is before


async def test_what_still_executes_at_the_end_is_let_go() -> None:
    app = App("stuck")
    ended: list[str] = []
    has_begun = asyncio.Event()
    never: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def listen() -> None:
        has_begun.set()
        await never

    @app.job
    async def hang() -> None:
        try:
            await step.run("listen", listen)
        finally:
            ended.append("cleaned up")

    async with Harness(app):
        await hang.enqueue()
        await has_begun.wait()

    assert ended == []  # it is not over: it is only not executed any more


async def test_a_harness_that_is_not_open_says_so(shop: Shop) -> None:
    harness = Harness(shop.app)
    with pytest.raises(RuntimeError, match="write `async with Harness"):
        await harness.settle()


async def test_a_run_of_a_closed_harness_says_so(shop: Shop) -> None:
    async with Harness(shop.app) as harness:
        await shop.nap.enqueue("1s")
        run = harness.run(shop.nap)

    with pytest.raises(RuntimeError, match="closed: ask about runs inside"):
        _ = run.status
    assert repr(run) == f"<Run {run.id} of a closed harness>"


async def test_many_harnesses_use_no_more_files_than_one(shop: Shop) -> None:
    async def files() -> int:
        async with Harness(shop.app):
            return len(os.listdir("/dev/fd"))

    before = await files()
    for _ in range(20):
        await files()

    assert await files() <= before


def test_a_time_without_a_zone_is_refused(shop: Shop) -> None:
    with pytest.raises(InvalidConfig, match="with a time zone"):
        Harness(shop.app, now=datetime(2026, 1, 1))  # noqa: DTZ001


async def test_steps_outside_a_run_just_call(shop: Shop) -> None:
    # A function under test may also simply be called.
    with pytest.raises(NotInRun):
        await shop.welcome(ADA)
    assert shop.did[0] == "find u1"


async def test_a_step_error_is_seen_by_the_function() -> None:
    app = App("caught")

    async def pay() -> str:
        return "paid"

    @app.job
    async def order() -> str:
        try:
            return await step.run("pay", pay)
        except StepError as error:
            return "declined" if error.was(PermissionError) else "?"

    async with Harness(app) as harness:
        harness.fail_step(order, "pay", times=9, error=PermissionError("no funds"))
        await order.enqueue()
        await harness.finish()
        assert harness.run(order).result == "declined"


async def test_a_rule_about_a_step_that_never_comes_is_told() -> None:
    app = App("typo")

    @app.job
    async def job() -> int:
        return await step.run("right", int)

    async def misspelt() -> None:
        async with Harness(app) as harness:
            harness.fail_step(job, "wrong")
            await job.enqueue()
            await harness.finish()

    with pytest.raises(AssertionError, match="'wrong' of 'job'"):
        await misspelt()
