"""Lines name the run that they were logged in, and keep secrets to themselves."""

import json
import logging
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from opentelemetry import trace

from errands import App, step
from errands.telemetry.log_lines import JsonLines, TextLines
from errands.testing import Harness
from tests.telemetry.conftest import Spans

log = logging.getLogger("shop.orders")


@pytest.fixture
def lines() -> Iterator[list[logging.LogRecord]]:
    """What a handler on the root logger is given."""
    kept: list[logging.LogRecord] = []

    class Keeping(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            kept.append(record)

    handler, root = Keeping(), logging.getLogger()
    root.addHandler(handler)
    yield kept
    root.removeHandler(handler)


async def run_order(app: App, extra: dict[str, Any] | None = None) -> str:
    """Runs a job that logs in a step; gives its id."""

    async def charge() -> None:
        log.warning("charging %d", 100, extra=extra)

    @app.job
    async def order() -> None:
        await step.run("charge", charge)
        log.warning("charged")

    async with Harness(app) as harness:
        job = await order.enqueue()
        await harness.finish()
    return job.id


def json_of(record: logging.LogRecord, *secrets: str) -> dict[str, Any]:
    return json.loads(JsonLines(secrets).format(record))


def record_of(text: str, *args: object, **extra: object) -> logging.LogRecord:
    record = logging.LogRecord("shop", logging.INFO, __file__, 1, text, args, None)
    vars(record).update(extra)
    return record


async def test_a_line_in_a_run_has_run_function_step_and_attempt(
    lines: list[logging.LogRecord],
) -> None:
    id = await run_order(App("shop"))

    in_step, after = [json_of(line) for line in lines if line.name == "shop.orders"]
    of_run = {"run": id, "function": "shop/order", "attempt": 0}
    assert in_step == {
        "ts": in_step["ts"],
        "level": "warning",
        "logger": "shop.orders",
        "message": "charging 100",
        "step": "charge",
        **of_run,
    }
    assert "step" not in after
    assert after.items() >= of_run.items()


async def test_a_line_as_text_ends_with_its_run(lines: list[logging.LogRecord]) -> None:
    id = await run_order(App("shop"))

    in_step, after = [TextLines().format(line) for line in lines if line.name == "shop.orders"]
    assert in_step.endswith(f"shop.orders: charging 100 [shop/order {id} step charge, attempt 0]")
    assert after.endswith(f"shop.orders: charged [shop/order {id} attempt 0]")


async def test_what_code_gives_as_extra_stays_its_own(lines: list[logging.LogRecord]) -> None:
    await run_order(App("shop"), {"run": "of the mill", "cents": 100})

    in_step = json_of(next(line for line in lines if line.name == "shop.orders"))
    assert (in_step["run"], in_step["cents"]) == ("of the mill", 100)


async def test_a_line_in_a_trace_has_its_id(spans: Spans, lines: list[logging.LogRecord]) -> None:
    formatted: list[dict[str, Any]] = []

    class Formatting(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if record.name == "shop.orders":
                formatted.append(json_of(record))

    handler, root = Formatting(), logging.getLogger()
    root.addHandler(handler)
    with trace.get_tracer("web").start_as_current_span("POST /orders") as span:
        await run_order(App("shop"))
    root.removeHandler(handler)

    assert {line["trace_id"] for line in formatted} == {f"{span.get_span_context().trace_id:032x}"}


def test_an_error_has_its_traceback_in_one_line() -> None:
    try:
        raise ValueError("no ink")
    except ValueError:
        record = record_of("printing failed")
        record.exc_info = sys.exc_info()

    text = JsonLines().format(record)

    assert "\n" not in text
    assert json.loads(text)["error"].endswith("ValueError: no ink")


@pytest.mark.parametrize(
    "line",
    [
        "the key is s3cret-key",
        "Authorization: Bearer abc.def",
        "GET /api/jobs/1/events?token=abc.def&x=1",
        "POST /e/some-event-key HTTP/1.1",
    ],
)
@pytest.mark.parametrize("formatter", [TextLines, JsonLines])
def test_no_secret_gets_into_a_line(formatter: type[logging.Formatter], line: str) -> None:
    made: Any = formatter
    text = made(("s3cret-key",)).format(record_of("%s", line))

    assert "***" in text
    for secret in ("s3cret-key", "abc.def", "some-event-key"):
        assert secret not in text


def test_no_secret_gets_into_a_traceback() -> None:
    try:
        raise ValueError("refused: s3cret-key")
    except ValueError:
        record = record_of("failed")
        record.exc_info = sys.exc_info()

    assert "s3cret-key" not in TextLines(("s3cret-key",)).format(record)
    assert "s3cret-key" not in JsonLines(("s3cret-key",)).format(record)


def test_extra_fields_that_sound_secret_are_masked() -> None:
    line = json_of(record_of("in", password="hunter2", headers={"Authorization": "Basic x"}))

    assert line["password"] == "***"
    assert line["headers"] == {"Authorization": "***"}


@pytest.mark.parametrize(
    "odd", [float("nan"), 2**70, "half a pair: \ud800", {1: {2, 3}}, object(), b"\xff"]
)
def test_any_extra_becomes_one_line_of_json(odd: object) -> None:
    text = JsonLines().format(record_of("odd", odd=odd))

    json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
    assert text.isascii()


CODE = """
import logging
from errands.telemetry.log_lines import configure_logging
{before}
configure_logging("json", "WARNING", secrets=["s3cret-key"])
configure_logging("json", "WARNING", secrets=["s3cret-key"])
logging.getLogger("shop").info("too quiet")
logging.getLogger("shop").warning("with s3cret-key")
"""


def stderr_of(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return done.stderr


def test_configured_lines_go_to_stderr_once() -> None:
    (line,) = stderr_of(CODE.format(before="")).splitlines()

    assert json.loads(line)["message"] == "with ***"


def test_an_application_that_has_set_up_logging_keeps_it() -> None:
    before = 'logging.basicConfig(format="mine %(message)s")'

    assert stderr_of(CODE.format(before=before)) == "mine with s3cret-key\n"


def test_configuring_again_replaces_what_was_configured() -> None:
    code = """
import io, logging
from errands.telemetry.log_lines import configure_logging
first, second = io.StringIO(), io.StringIO()
configure_logging("text", stream=first)
configure_logging("json", stream=second)
logging.getLogger("shop").warning("here")
assert not first.getvalue() and "here" in second.getvalue()
"""

    assert stderr_of(code) == ""
