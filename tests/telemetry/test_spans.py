"""Sends, runs and attempts of steps are spans, and belong together across events and waits."""

import asyncio
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF
from opentelemetry.trace import (
    NonRecordingSpan,
    SpanContext,
    SpanKind,
    StatusCode,
    TraceFlags,
)

from errands import App, Event, JobFailed, Middleware, step, sync
from errands.embedded import Embedded
from errands.model.event import NewEvent
from errands.settings import Settings
from errands.store.open import open_store
from errands.telemetry.spans import current_trace
from errands.testing import Harness
from tests.telemetry.conftest import Spans, forget_provider


class SignedUp(Event, name="user/signed.up"):
    email: str


def attributes(span: ReadableSpan) -> dict[str, Any]:
    return dict(span.attributes or {})


def parent_id(span: ReadableSpan) -> int | None:
    return None if span.parent is None else span.parent.span_id


def context_of(span: ReadableSpan) -> SpanContext:
    context = span.get_span_context()
    assert context is not None
    return context


def id_of(span: ReadableSpan) -> int:
    return context_of(span).span_id


def trace_of(span: ReadableSpan) -> int:
    return context_of(span).trace_id


async def test_a_run_is_in_the_trace_of_who_sent_its_event(spans: Spans) -> None:
    app = App("shop")

    @app.function(on=SignedUp)
    async def welcome(event: SignedUp) -> None: ...

    async with Harness(app) as harness:
        with trace.get_tracer("web").start_as_current_span("POST /signup"):
            sent_id = await app.send(SignedUp(email="ada@example.com"))
        await harness.finish()

    request, sent = spans.one("POST /signup"), spans.one("send user/signed.up")
    run = spans.one("process shop/welcome")
    assert {trace_of(request), trace_of(sent)} == {trace_of(run)}
    assert (parent_id(sent), parent_id(run)) == (id_of(request), id_of(sent))
    assert (sent.kind, run.kind) == (SpanKind.PRODUCER, SpanKind.CONSUMER)
    assert attributes(sent) == {
        "messaging.system": "errands",
        "messaging.operation.type": "send",
        "messaging.operation.name": "send",
        "messaging.destination.name": "user/signed.up",
        "messaging.message.id": sent_id,
    }


async def test_a_run_names_its_function_its_id_and_its_attempt(spans: Spans) -> None:
    app = App("shop")

    @app.job
    async def pay(cents: int) -> None: ...

    async with Harness(app) as harness:
        job = await pay.enqueue(100)
        await harness.finish()

    assert attributes(spans.one("process shop/pay")) == {
        "messaging.system": "errands",
        "messaging.operation.type": "process",
        "messaging.operation.name": "process",
        "messaging.destination.name": "shop/pay",
        "messaging.message.id": job.id,
        "errands.function": "shop/pay",
        "errands.run.id": job.id,
        "errands.run.attempt": 0,
        "errands.run.outcome": "returned",
    }


async def test_code_in_a_step_is_in_the_span_of_its_attempt(spans: Spans) -> None:
    app = App("shop")

    async def charge() -> None:
        with trace.get_tracer("bank").start_as_current_span("async call"):
            ...

    def print_label() -> None:
        with trace.get_tracer("printer").start_as_current_span("call in a thread"):
            ...

    @app.job
    async def order() -> None:
        await step.run("charge", charge)
        await step.run("print", print_label)

    async with Harness(app) as harness:
        job = await order.enqueue()
        await harness.finish()

    run, charged = spans.one("process shop/order"), spans.one("step charge")
    assert parent_id(spans.one("async call")) == id_of(charged)
    assert parent_id(spans.one("call in a thread")) == id_of(spans.one("step print"))
    assert parent_id(charged) == id_of(run)
    assert attributes(charged) == {
        "errands.function": "shop/order",
        "errands.run.id": job.id,
        "errands.step.id": "charge",
        "errands.step.attempt": 0,
    }


async def test_each_attempt_of_a_step_is_a_span_with_its_error(spans: Spans) -> None:
    app = App("shop")
    tries: list[int] = []

    async def charge() -> None:
        tries.append(1)
        if len(tries) == 1:
            raise ConnectionError("no answer from the bank")

    @app.job
    async def order() -> None:
        await step.run("charge", charge)

    async with Harness(app) as harness:
        await order.enqueue()
        await harness.finish()

    first, second = spans.named("step charge")
    assert attributes(first)["error.type"] == "ConnectionError"
    assert first.status.status_code is StatusCode.ERROR
    assert [event.name for event in first.events] == ["exception"]
    assert attributes(second)["errands.step.attempt"] == 1
    assert second.status.status_code is StatusCode.UNSET


async def test_members_of_a_map_share_the_name_of_their_spans(spans: Spans) -> None:
    app = App("shop")

    async def resize(size: int) -> int:
        return size

    @app.job
    async def thumbnails() -> None:
        await step.map("resize", resize, [64, 128])

    async with Harness(app) as harness:
        await thumbnails.enqueue()
        await harness.finish()

    ids = {attributes(span)["errands.step.id"] for span in spans.named("step resize")}
    assert ids == {"resize[0]", "resize[1]"}


async def test_what_goes_on_after_a_sleep_is_linked_and_no_child(spans: Spans) -> None:
    app = App("shop")

    async def mail() -> None: ...

    @app.job
    async def welcome() -> None:
        await step.run("now", mail)
        await step.sleep("nap", "3d")
        await step.run("later", mail)

    async with Harness(app) as harness:
        with trace.get_tracer("web").start_as_current_span("POST /signup"):
            await welcome.enqueue()
        await harness.finish()

    before, after = spans.named("process shop/welcome")
    sent = spans.one("send shop/welcome")
    assert attributes(before)["errands.run.outcome"] == "parked"
    assert attributes(after)["errands.run.outcome"] == "returned"
    assert after.parent is None
    assert trace_of(after) != trace_of(before) == trace_of(sent)
    assert [link.context.span_id for link in after.links] == [id_of(before), id_of(sent)]
    assert parent_id(spans.one("step now")) == id_of(before)
    assert parent_id(spans.one("step later")) == id_of(after)


async def test_a_run_that_is_replayed_after_a_crash_is_linked_to_its_sender(spans: Spans) -> None:
    app = App("shop")
    executed: list[str] = []

    async def mail() -> None:
        executed.append("mail")

    @app.job
    async def welcome() -> None:
        await step.run("now", mail)
        await step.sleep("nap", "1h")

    async with Harness(app) as harness:
        await welcome.enqueue()
        await harness.advance("1m")
        harness.crash()
        await harness.finish()

    *_, after = spans.named("process shop/welcome")
    assert [link.context.span_id for link in after.links] == [id_of(spans.one("send shop/welcome"))]
    # What is remembered is not executed, so it is no span.
    assert len(spans.named("step now")) == len(executed) == 1


async def test_parallel_branches_are_in_the_stretch_that_executes(spans: Spans) -> None:
    app = App("shop")

    async def mail() -> None: ...

    async def branch(name: str) -> None:
        await step.sleep(f"nap {name}", "1h")
        await step.run(f"mail {name}", mail)

    @app.job
    async def welcome() -> None:
        await asyncio.gather(branch("a"), branch("b"))

    async with Harness(app) as harness:
        await welcome.enqueue()
        await harness.finish()

    stretches = {id_of(span) for span in spans.named("process shop/welcome")[1:]}
    assert parent_id(spans.one("step mail a")) in stretches
    assert parent_id(spans.one("step mail b")) in stretches


async def test_a_run_that_fails_tells_its_error(spans: Spans) -> None:
    app = App("shop")

    @app.job(retries=1)
    async def pay() -> None:
        raise PermissionError("card refused")

    async with Harness(app) as harness:
        job = await pay.enqueue()
        await harness.finish()
        with pytest.raises(JobFailed):
            await job.result()

    first, second = spans.named("process shop/pay")
    for attempt, span in enumerate((first, second)):
        assert attributes(span)["errands.run.attempt"] == attempt
        assert attributes(span)["error.type"] == "PermissionError"
        assert attributes(span)["errands.run.outcome"] == "failed"
        assert span.status.status_code is StatusCode.ERROR


async def test_what_a_run_sends_enqueues_and_invokes_is_in_its_trace(spans: Spans) -> None:
    app = App("shop")

    @app.function(on=SignedUp)
    async def welcome(event: SignedUp) -> None: ...

    @app.job
    async def label() -> None: ...

    @app.job
    async def invoice() -> None: ...

    @app.job
    async def order() -> None:
        await step.send_event("send", SignedUp(email="ada@example.com"))
        await step.enqueue("label", label)
        await step.invoke("invoice", invoice)

    async with Harness(app) as harness:
        await order.enqueue()
        await harness.finish()

    run = spans.named("process shop/order")[0]
    sent, enqueued = spans.one("send user/signed.up"), spans.one("send shop/label")
    assert (parent_id(sent), parent_id(enqueued)) == (id_of(run), id_of(run))
    assert parent_id(spans.one("process shop/welcome")) == id_of(sent)
    assert parent_id(spans.one("process shop/label")) == id_of(enqueued)
    assert parent_id(spans.one("process shop/invoice")) == id_of(run)
    # The replay that follows sends nothing.
    assert len(spans.named("send user/signed.up")) == 1


async def test_a_plain_function_is_traced_like_an_async_one(spans: Spans) -> None:
    app = App("shop")

    def charge() -> None: ...

    @app.job
    def order() -> None:
        with trace.get_tracer("shop").start_as_current_span("in the thread"):
            sync(step.run("charge", charge))

    async with Harness(app) as harness:
        await order.enqueue()
        await harness.finish()

    assert parent_id(spans.one("in the thread")) == id_of(spans.one("process shop/order"))
    assert parent_id(spans.one("step charge")) == id_of(spans.one("in the thread"))


async def test_middleware_around_a_step_is_in_its_span(spans: Spans) -> None:
    class Timing(Middleware):
        async def on_step(self, run: Any, proceed: Any) -> object:
            with trace.get_tracer("timing").start_as_current_span("timed"):
                return await proceed()

    app = App("shop", middleware=[Timing()])

    async def charge() -> None: ...

    @app.job
    async def order() -> None:
        await step.run("charge", charge)

    async with Harness(app) as harness:
        await order.enqueue()
        await harness.finish()

    assert parent_id(spans.one("timed")) == id_of(spans.one("step charge"))


async def test_code_may_write_on_the_span_of_its_run_but_not_end_it(spans: Spans) -> None:
    app = App("shop")

    @app.job
    async def order() -> None:
        span = trace.get_current_span()
        span.set_attribute("shop.customer", "c1")
        span.add_event("checked")
        span.end()

    async with Harness(app) as harness:
        await order.enqueue()
        await harness.finish()

    run = spans.one("process shop/order")
    assert attributes(run)["shop.customer"] == "c1"
    assert [event.name for event in run.events] == ["checked"]
    assert attributes(run)["errands.run.outcome"] == "returned"


async def test_a_run_cancelled_while_it_executes_says_so(spans: Spans) -> None:
    app = App("shop")
    is_charging, never = asyncio.Event(), asyncio.Event()

    async def charge() -> None:
        is_charging.set()
        await never.wait()

    @app.job
    async def order() -> None:
        await step.run("charge", charge)

    async with Harness(app) as harness:
        job = await order.enqueue()
        await is_charging.wait()
        await job.cancel()
        await harness.finish()

    assert attributes(spans.one("process shop/order"))["errands.run.outcome"] == "cancelled"
    assert attributes(spans.one("step charge"))["error.type"] == "CancelledError"


async def test_a_run_that_is_cancelled_while_it_waits_has_ended_its_span(spans: Spans) -> None:
    app = App("shop")

    @app.job
    async def order() -> None:
        await step.wait_for_event("paid", "shop/paid", timeout="1d")

    async with Harness(app) as harness:
        job = await order.enqueue()
        await harness.advance("1h")
        await job.cancel()
        await harness.finish()

    outcomes = [
        attributes(span)["errands.run.outcome"] for span in spans.named("process shop/order")
    ]
    assert outcomes == ["parked"]


async def test_a_traceparent_from_elsewhere_is_followed(spans: Spans) -> None:
    app = App("shop")

    @app.function(on=SignedUp)
    async def welcome(event: SignedUp) -> None: ...

    async with Harness(app) as harness:
        backend = await app.connected()
        given = f"00-{0xA1:032x}-{0xB2:016x}-01"
        await backend.send([NewEvent("user/signed.up", b'{"email":"a"}', trace=given)])
        await harness.finish()

    run = spans.one("process shop/welcome")
    assert (trace_of(run), parent_id(run)) == (0xA1, 0xB2)


@pytest.mark.parametrize("given", ["", "nonsense", f"00-{0:032x}-{0:016x}-01"])
async def test_a_traceparent_that_is_none_begins_a_new_trace(spans: Spans, given: str) -> None:
    app = App("shop")

    @app.function(on=SignedUp)
    async def welcome(event: SignedUp) -> None: ...

    async with Harness(app) as harness:
        backend = await app.connected()
        await backend.send([NewEvent("user/signed.up", b'{"email":"a"}', trace=given)])
        await harness.finish()

    assert spans.one("process shop/welcome").parent is None


async def test_many_events_in_one_call_are_one_span(spans: Spans) -> None:
    app = App("shop")

    @app.function(on=SignedUp)
    async def welcome(event: SignedUp) -> None: ...

    async with Harness(app) as harness:
        await app.send([SignedUp(email="ada@example.com"), SignedUp(email="bob@example.com")])
        await harness.finish()

    sent = spans.one("send user/signed.up")
    assert attributes(sent)["messaging.batch.message_count"] == 2
    assert {parent_id(run) for run in spans.named("process shop/welcome")} == {id_of(sent)}


async def test_without_a_provider_nothing_is_traced_but_a_trace_goes_through() -> None:
    app = App("shop")
    seen: list[str | None] = []

    @app.job
    async def inner() -> None: ...

    @app.job
    async def outer() -> None:
        seen.append(current_trace())
        await step.invoke("inner", inner)

    remote = SpanContext(0xA1, 0xB2, is_remote=True, trace_flags=TraceFlags(1))
    async with Harness(app) as harness:
        with trace.use_span(NonRecordingSpan(remote)):
            await outer.enqueue()
        await harness.finish()
        backend: Any = await app.connected()
        runs = [backend.run_id(harness.run(job).id) for job in (outer, inner)]
        traces = [run.trace for run in backend.store.reader.inputs(runs)]

    assert seen == [None]
    assert traces == [f"00-{0xA1:032x}-{0xB2:016x}-01"] * 2


def test_sending_does_not_load_opentelemetry() -> None:
    code = """
import sys, tempfile
from errands import App, sync
app = App("shop", url=f"sqlite:///{tempfile.mkdtemp()}/errands.db")
@app.job
async def pay() -> None: ...
async def main():
    async with app.worker():
        await (await pay.enqueue()).result()
import asyncio
asyncio.run(main())
print(*[name for name in sys.modules if name.startswith(("opentelemetry", "prometheus_client"))])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


async def test_what_a_worker_gives_back_when_it_stops_says_so(spans: Spans, tmp_path: Path) -> None:
    app = App("shop")
    is_running, never = asyncio.Event(), asyncio.Event()

    @app.job
    async def order() -> None:
        is_running.set()
        await never.wait()

    url = f"sqlite:///{tmp_path / 'errands.db'}"
    process = Embedded(lambda: open_store(url, is_durable=False), app, Settings(grace_ms=0))
    with app.use_backend(process):
        async with app.worker():
            await order.enqueue()
            await is_running.wait()
    process.close()

    assert attributes(spans.one("process shop/order"))["errands.run.outcome"] == "released"


async def test_runs_that_are_not_sampled_are_not_exported_however_often_they_wait() -> None:
    exporter = InMemorySpanExporter()
    provider = TracerProvider(sampler=ALWAYS_OFF)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    trace.set_tracer_provider(provider)
    app = App("shop")

    @app.job
    async def order() -> None:
        await step.sleep("nap", "1h")
        await step.run("charge", asyncio.sleep, 0)

    try:
        async with Harness(app) as harness:
            await order.enqueue()
            await harness.finish()
            assert harness.run(order).status == "completed"
    finally:
        forget_provider()

    assert exporter.get_finished_spans() == ()
