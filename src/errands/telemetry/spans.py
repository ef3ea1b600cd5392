"""Spans through the OpenTelemetry API: of sending, of executing a run, of each attempt of a step.

The API package is used only in a process that has loaded it already, or that is told by its
environment to set up a provider; so who does not trace pays for one look into `sys.modules`.
Source: semantic conventions for messaging spans; W3C Trace Context, level 1.
"""

import os
import sys
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar, cast

import msgspec

from errands.model.event import NewEvent
from errands.model.job import NewJob

if TYPE_CHECKING:
    from opentelemetry.trace import Tracer

T = TypeVar("T")
Items: TypeAlias = Sequence[NewEvent | NewJob]
API = "opentelemetry.trace"
"""Where it is not loaded, code is in no span."""
PROVIDER = "OTEL_PYTHON_TRACER_PROVIDER"
"""Names an entry point that the API package loads a provider from."""


def find_tracer() -> "Tracer | None":
    """None where nobody has set up tracing in this process, so far."""
    if API not in sys.modules and PROVIDER not in os.environ:
        return None
    from opentelemetry import trace

    provider = trace.get_tracer_provider()
    # The proxy stands for a provider that is still to come.
    if isinstance(provider, trace.ProxyTracerProvider | trace.NoOpTracerProvider):
        return None
    return provider.get_tracer("errands")


# -- sending -------------------------------------------------------------------------------------


def current_trace() -> str | None:
    """The W3C traceparent of the span that this code is in."""
    if API not in sys.modules:
        return None
    from opentelemetry import trace

    return _traceparent(trace.get_current_span())


def _traceparent(span: Any) -> str | None:
    context = span.get_span_context()
    if not context.is_valid:
        return None
    return f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags & 1:02x}"


def stamped(items: Items) -> list[NewEvent | NewJob]:
    """With the trace that this code is in."""
    return _with(items, current_trace())


def _with(items: Items, trace: str | None) -> list[NewEvent | NewJob]:
    if trace is None:
        return list(items)
    return [msgspec.structs.replace(item, trace=trace) for item in items]


async def sent(items: Items, accept: Callable[[Items], Awaitable[T]]) -> T:
    """`accept` these, in a span of their own if there is tracing; they carry it."""
    tracer = find_tracer()
    if tracer is None:
        return await accept(stamped(items))
    from opentelemetry.trace import SpanKind

    names = {_name(item) for item in items}
    name = names.pop() if len(names) == 1 else None
    attributes = about("send", name)
    if len(items) > 1:
        attributes["messaging.batch.message_count"] = len(items)
    span = tracer.start_span(
        "send" if name is None else f"send {name}", kind=SpanKind.PRODUCER, attributes=attributes
    )
    try:
        answer = await accept(_with(items, _traceparent(span)))
        if len(items) == 1:
            ids = cast("Any", answer)
            # Or it was refused.
            if type(ids) in (list, tuple):
                span.set_attribute("messaging.message.id", str(ids[0]))
    except BaseException as error:
        fail(span, error)
        raise
    finally:
        span.end()
    return answer


def _name(item: NewEvent | NewJob) -> str:
    return item.name if isinstance(item, NewEvent) else f"{item.app}/{item.function}"


def about(operation: str, destination: str | None) -> dict[str, Any]:
    """The attributes that messaging spans share."""
    found: dict[str, Any] = {
        "messaging.system": "errands",
        "messaging.operation.type": operation,
        "messaging.operation.name": operation,
    }
    if destination is not None:
        found["messaging.destination.name"] = destination
    return found


def fail(span: Any, error: BaseException) -> None:
    from opentelemetry.trace import Status, StatusCode

    span.set_attribute("error.type", type(error).__qualname__)
    span.record_exception(error)
    span.set_status(Status(StatusCode.ERROR, f"{type(error).__name__}: {error}"))
