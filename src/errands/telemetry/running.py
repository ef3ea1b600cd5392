"""The span of a run that executes: one for each stretch of execution, linked across waits.

Loaded where there is tracing only.
"""

from collections.abc import Awaitable, Callable, Mapping
from contextvars import Context
from typing import Any

from opentelemetry import context as context_api
from opentelemetry import trace
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from opentelemetry.util import types

from errands.telemetry.spans import about, fail

_read = TraceContextTextMapPropagator().extract


class Running(trace.Span):
    """Stands for the span of the present stretch, in whichever task or thread of the run code asks
    for the current span: a run that waits ends one span, and goes on in another.
    """

    def __init__(
        self,
        tracer: trace.Tracer,
        context: Context,
        function: str,
        run: str,
        attempt: int,
        traceparent: str | None,
        *,
        is_first: bool,
    ) -> None:
        """Code that executes in `context` is in it from now on.

        traceparent: of what started the run.   is_first: it has not been executed before.
        """
        self._tracer, self._function = tracer, function
        self._about = {"errands.function": function, "errands.run.id": run}
        self._attributes = {
            **self._about,
            **about("process", function),
            "messaging.message.id": run,
            "errands.run.attempt": attempt,
        }
        parent = _read({"traceparent": traceparent or ""}, context_api.Context())
        self._sender = trace.get_current_span(parent).get_span_context()
        self._is_over = False
        if is_first:
            self._now = self._start(parent)
        else:
            # What goes on after days is no part of a trace that has long been looked at.
            self._now = self._start(context_api.Context(), self._sender)
        context.run(context_api.attach, trace.set_span_in_context(self, context_api.Context()))

    def _start(self, parent: context_api.Context, *linked: trace.SpanContext) -> trace.Span:
        return self._tracer.start_span(
            f"process {self._function}",
            parent,
            kind=trace.SpanKind.CONSUMER,
            attributes=self._attributes,
            links=[trace.Link(one) for one in linked if one.is_valid],
        )

    # -- what becomes of it --------------------------------------------------------------------

    def resume(self) -> None:
        """It goes on, after a wait."""
        if self._is_over:
            before = self._now.get_span_context()
            self._now = self._start(context_api.Context(), before, self._sender)
            self._is_over = False

    def failed(self, error: BaseException) -> None:
        fail(self._now, error)

    def over(self, outcome: str) -> None:
        """The stretch ends: returned, failed, parked, cancelled, released or dropped."""
        if not self._is_over:
            self._is_over = True
            self._now.set_attribute("errands.run.outcome", outcome)
            self._now.end()

    async def step(self, key: str, attempt: int, call: Callable[[], Awaitable[Any]]) -> Any:
        """An attempt of a step, in a span of its own."""
        self.resume()
        span = self._tracer.start_span(
            # Of the members of a map the common part: names of spans are few.
            f"step {key.partition('[')[0] or key}",
            attributes={**self._about, "errands.step.id": key, "errands.step.attempt": attempt},
        )
        token = context_api.attach(trace.set_span_in_context(span))
        try:
            return await call()
        except GeneratorExit:
            # Closed by somebody else, in whose context there is nothing to give back.
            token = None
            raise
        except BaseException as error:
            fail(span, error)
            raise
        finally:
            if token is not None:
                context_api.detach(token)
            span.end()

    # -- a span, to whoever asks for the current one -------------------------------------------

    def end(self, end_time: int | None = None) -> None:
        """Not by the code that is in it: the run itself ends it."""

    def get_span_context(self) -> trace.SpanContext:
        return self._now.get_span_context()

    def set_attributes(self, attributes: Mapping[str, types.AttributeValue]) -> None:
        self._now.set_attributes(attributes)

    def set_attribute(self, key: str, value: types.AttributeValue) -> None:
        self._now.set_attribute(key, value)

    def add_event(
        self, name: str, attributes: types.Attributes = None, timestamp: int | None = None
    ) -> None:
        self._now.add_event(name, attributes, timestamp)

    def add_link(self, context: trace.SpanContext, attributes: types.Attributes = None) -> None:
        self._now.add_link(context, attributes)

    def update_name(self, name: str) -> None:
        self._now.update_name(name)

    def is_recording(self) -> bool:
        return self._now.is_recording()

    def set_status(
        self, status: trace.Status | trace.StatusCode, description: str | None = None
    ) -> None:
        self._now.set_status(status, description)

    def record_exception(
        self,
        exception: BaseException,
        attributes: types.Attributes = None,
        timestamp: int | None = None,
        escaped: bool = False,
    ) -> None:
        self._now.record_exception(exception, attributes, timestamp, escaped)
