"""The Python in README and how-tos does what is said of it: a page's blocks are one module."""

import importlib.util
import re
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from types import ModuleType

import pytest

from errands import Job
from errands.testing import Harness

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs" / "howto").glob("*.md"))]
BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\(([^)#:]+)(?:#[^)]*)?\)")
Page = Callable[[str], ModuleType]


def code_of(page: Path) -> str:
    """Its blocks, each on the line where it stands on the page."""
    text = page.read_text()
    code = ""
    for found in BLOCK.finditer(text):
        code += "\n" * (text.count("\n", 0, found.start(1)) - code.count("\n")) + found[1]
    return code


@pytest.fixture
def page(tmp_path: Path) -> Iterator[Page]:
    loaded: list[str] = []

    def load(name: str) -> ModuleType:
        path = tmp_path / "page.py"
        path.write_text(code_of(ROOT / name))
        spec = importlib.util.spec_from_file_location(f"page_{len(loaded)}", path)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        # Annotations are looked up where the module says that it is.
        sys.modules[spec.name] = module
        loaded.append(spec.name)
        spec.loader.exec_module(module)
        return module

    yield load
    for name in loaded:
        del sys.modules[name]


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_examples_are_python(path: Path) -> None:
    compile(code_of(path), path, "exec")


@pytest.mark.parametrize("path", [*PAGES, ROOT / "CONTRIBUTING.md"], ids=lambda path: path.name)
def test_links_lead_somewhere(path: Path) -> None:
    targets = LINK.findall(BLOCK.sub("", path.read_text()))
    assert [target for target in targets if not (path.parent / target).exists()] == []


def test_the_readme_links_every_howto() -> None:
    linked = set(LINK.findall((ROOT / "README.md").read_text()))
    howtos = {str(path.relative_to(ROOT)) for path in PAGES if path.parent.name == "howto"}
    assert howtos <= linked


async def test_the_readme_app_mails_twice_and_reports(page: Page) -> None:
    shown = page("README.md")
    async with Harness(shown.app) as harness:
        await shown.app.send(shown.SignedUp(email="ada@example.com"))
        job: Job[str] = await shown.report.enqueue(3)
        await harness.finish()
        assert harness.run(shown.welcome).result == "both sent"
        assert await job.result() == "3 pages"


async def test_the_order_of_the_functions_page_is_fulfilled(page: Page) -> None:
    shown = page("docs/howto/functions-and-steps.md")
    # The page asks the real clock what time it is.
    async with Harness(shown.app, now=datetime.now(UTC)) as harness:
        await shown.app.send(shown.OrderPlaced(order_id="o1", cents=20_000, country="FR"))
        await harness.advance("1 day")
        await shown.app.send(shown.OrderPaid(order_id="o1"))
        await harness.finish()

        assert harness.run(shown.fulfil).result == "r-o1, label-o1.pdf"
        assert harness.run(shown.confirm).result == "to ada@example.com: order o1"
        assert harness.run(shown.check_customs).status == "completed"
        assert harness.run(shown.ship).status == "completed"
        assert harness.run(shown.thank).result == "to ada@example.com: thanks"
        assert harness.run(shown.count).result == 2
        assert harness.run(shown.collect).result == "paid"
        assert list(harness.run(shown.prepare).steps)[-3:] == ["page", "page:1", "page:2"]
        audited = [run.result for run in harness.runs(shown.audit)]
        assert audited == ["order/placed", "order/paid", "order/shipped"]


async def test_all_ways_to_send_on_the_functions_page_are_accepted(page: Page) -> None:
    shown = page("docs/howto/functions-and-steps.md")
    async with Harness(shown.app) as harness:
        await shown.sell()
        assert len(harness.sent) == 5


@pytest.mark.parametrize(
    ("order", "outcome", "told"),
    [("poor", "declined", 0), ("busy", None, 1), ("unknown", None, 1)],
)
async def test_failures_of_the_functions_page_end_as_told(
    page: Page,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    order: str,
    outcome: str | None,
    told: int,
) -> None:
    mails: list[str] = []

    def mail(to: str, text: str) -> None:
        mails.append(f"{to}: {text}")

    shown = page("docs/howto/functions-and-steps.md")
    monkeypatch.setattr(shown, "send_mail", mail)
    async with Harness(shown.app) as harness:
        await shown.app.send(shown.Shipped(order_id=order))
        await harness.finish()
        run = harness.run(shown.collect)
        assert (run.result if run.status == "completed" else None) == outcome
        assert len([mail for mail in mails if mail.startswith(f"support: {order}: ")]) == told
        assert len([line for line in caplog.messages if "shop/collect, run " in line]) == told


async def test_the_reminder_of_the_functions_page_is_cancelled(page: Page) -> None:
    shown = page("docs/howto/functions-and-steps.md")
    async with Harness(shown.app) as harness:
        await shown.app.send(shown.OrderPlaced(order_id="o1", cents=1))
        await harness.settle()
        await shown.app.send(shown.OrderCancelled(order_id="o1"))
        await harness.settle()
        assert (harness.run(shown.remind).error or "").startswith("cancelled")


async def test_middleware_of_the_functions_page_adds_a_user(page: Page) -> None:
    shown = page("docs/howto/functions-and-steps.md")
    async with Harness(shown.timed) as harness:
        await shown.timed.send(shown.OrderPaid(order_id="o1"))
        await harness.settle()
        assert harness.run(shown.tell).result == "tell, attempt 0"
        assert harness.sent[0].envelope.user == {"id": "u1"}


async def test_pydantic_events_of_the_functions_page_arrive(page: Page) -> None:
    shown = page("docs/howto/functions-and-steps.md")
    async with Harness(shown.app) as harness:
        await shown.app.send(shown.Restocked(sku="s1", count=3))
        await harness.settle()
        assert harness.run(shown.shelve).result == 3


async def test_jobs_of_the_jobs_page_are_enqueued_and_asked(page: Page) -> None:
    shown = page("docs/howto/jobs.md")
    async with Harness(shown.app):
        await shown.order()
        await shown.follow()
        await shown.order_specially()
        assert len(await shown.order_many()) == 1_000
        job: Job[str] = await shown.report.enqueue("r9")
        assert await job.result() == "/reports/r9.pdf"
        assert await shown.later(job.id) == "/reports/r9.pdf"


async def test_the_worker_of_the_jobs_page_executes(
    page: Page, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("ERRANDS_URL", f"sqlite:///{tmp_path}/errands.db")
    shown = page("docs/howto/jobs.md")
    try:
        await shown.main()
    finally:
        shown.app.backend.close()
    assert capsys.readouterr().out == "/reports/r4.pdf\n"
