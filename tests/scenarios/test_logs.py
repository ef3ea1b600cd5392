"""What a run logs lands on the run."""

import logging

import pytest

from errands import App, step
from errands.testing import Harness

log = logging.getLogger("shop.orders")


@pytest.fixture(autouse=True)
def info_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    """As in a worker. pytest has configured logging already, from warnings on."""
    caplog.set_level(logging.INFO)


async def test_a_line_has_the_step_and_attempt_that_it_was_logged_in() -> None:
    app = App("shop")

    def pay(cents: int) -> None:
        log.warning("charging %d", cents)

    @app.job
    async def order() -> None:
        log.info("begin")
        await step.run("pay", pay, 100)
        log.info("end")

    async with Harness(app) as harness:
        harness.fail_step(order, "pay")
        await order.enqueue()
        await harness.finish()
        lines = [
            (line.text, line.level, line.step, line.attempt) for line in harness.run(order).logs
        ]

    assert lines == [
        ("begin", logging.INFO, None, 0),
        ("charging 100", logging.WARNING, "pay", 1),
        ("end", logging.INFO, None, 0),
    ]


async def test_what_is_logged_outside_of_runs_is_nobodys() -> None:
    app = App("shop")

    @app.job
    async def order() -> None:
        await step.sleep("nap", "1h")

    async with Harness(app) as harness:
        await order.enqueue()
        log.warning("from the test")
        await harness.finish()
        assert harness.run(order).logs == []


async def test_lines_before_a_wait_are_not_logged_again_after_a_crash() -> None:
    app = App("shop")

    async def pay() -> None:
        log.info("paying")

    @app.job
    async def order() -> None:
        await step.run("pay", pay)
        await step.sleep("nap", "1h")

    async with Harness(app) as harness:
        await order.enqueue()
        await harness.settle()
        harness.crash()
        await harness.finish()
        assert [line.text for line in harness.run(order).logs] == ["paying"]


async def test_logging_still_goes_where_it_went(caplog: pytest.LogCaptureFixture) -> None:
    app = App("shop")

    @app.job
    async def order() -> None:
        log.warning("seen by all")

    async with Harness(app) as harness:
        await order.enqueue()
        await harness.finish()

    assert "seen by all" in caplog.text
