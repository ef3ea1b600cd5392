"""External jobs and repetitions, asked of a process; and what it refuses before anything is
written.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from errands import App, Event, sync
from errands.embedded import Embedded
from errands.model.errors import (
    InvalidConfig,
    JobIsOver,
    JobNotFound,
    NotExternal,
    NotRepeatable,
    ValueTooLarge,
)
from errands.model.run import Moment
from errands.settings import Settings
from errands.store.interface import RunFilter
from errands.store.open import open_store

app = App("shop")
DAY_MS = 86_400_000


class Ordered(Event, name="order/placed"):
    n: int


@app.job
async def report(name: str) -> str:
    return name


@app.function(on=Ordered)
async def confirm(event: Ordered) -> int:
    return event.n


class Process(Embedded):
    """Asked from plain code; what is done for one question is done when it is answered."""

    def create(self, key: str | None = None, keep_ms: int = DAY_MS) -> str:
        view, _ = sync(self.create_job(key, keep_ms))
        return view.id

    def update(self, job_id: str, **fields: Any) -> Any:
        return sync(self.update_job(job_id, **fields))


@pytest.fixture
def process(tmp_path: Path) -> Iterator[Process]:
    url = f"sqlite:///{tmp_path / 'errands.db'}"
    process = Process(lambda: open_store(url, is_durable=False), app, Settings())
    sync(process.connect())
    with app.use_backend(process):
        yield process
    process.close()


def test_an_own_id_stands_for_the_job_wherever_an_id_is_taken(process: Process) -> None:
    assert process.create("import 7/ä") == "import 7/ä"

    assert sync(process.job("import 7/ä")).status == "pending"
    process.update("import 7/ä", result=b"1")
    view = sync(process.outcome("import 7/ä", 1))
    assert view is not None
    assert (view.id, view.status) == ("import 7/ä", "completed")


def test_asked_for_by_its_run_s_id_it_still_has_the_id_that_was_chosen(process: Process) -> None:
    process.create("mine")
    (row,) = process.store.reader.runs(RunFilter(function="errands/external"))

    view = sync(process.job(process._public_id(row.id)))

    assert (row.key, view.id) == ("mine", "mine")


def test_the_same_id_gives_the_same_job(process: Process) -> None:
    process.create("mine")
    process.update("mine", status="processing", percent=5)
    made = process.create()

    assert sync(process.create_job("mine", 1))[1] is False
    assert sync(process.job("mine")).progress == 5
    again, is_new = sync(process.create_job(made, 1))
    assert (again.id, is_new) == (made, False)


def test_the_id_of_a_job_that_errands_executes_is_no_external_one(process: Process) -> None:
    id = sync(report.enqueue("a")).id

    with pytest.raises(NotExternal, match="shop/report"):
        process.create(id)
    with pytest.raises(NotExternal, match="shop/report"):
        process.update(id, percent=1)


def test_another_process_knows_the_job_and_may_update_it(process: Process, tmp_path: Path) -> None:
    process.create("mine")
    url = f"sqlite:///{tmp_path / 'errands.db'}"
    other = Process(lambda: open_store(url, is_durable=False), App("other"), Settings())
    sync(other.connect())

    other.update("mine", percent=30, note="there")
    process.update("mine", percent=40)

    view = sync(other.job("mine"))
    assert (view.progress, view.message) == (40, "there")
    other.close()


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ({"percent": 1}, "pending"),
        ({"status": "processing"}, "processing"),
        ({"result": b"1"}, "completed"),
        ({"status": "completed"}, "completed"),
        ({"error": "boom"}, "failed"),
        ({"status": "failed"}, "failed"),
    ],
)
def test_a_result_completes_a_job_and_an_error_fails_it(
    process: Process, fields: dict[str, Any], status: str
) -> None:
    assert process.update(process.create(), **fields).status == status


@pytest.mark.parametrize(
    "fields",
    [
        {"result": b"1", "error": "boom"},
        {"result": b"1", "status": "failed"},
        {"result": b"1", "status": "processing"},
        {"error": "boom", "status": "completed"},
        {"error": "boom", "status": "pending"},
        {"percent": float("nan")},
        {"percent": "40"},
        {"status": "done"},
    ],
)
def test_what_cannot_be_meant_is_refused(process: Process, fields: dict[str, Any]) -> None:
    id = process.create()

    with pytest.raises(InvalidConfig):
        process.update(id, **fields)
    assert sync(process.job(id)).status == "pending"


@pytest.mark.parametrize("key", ["", "x" * 256, "a\nb", "a\0b", "\ud800", 7])
def test_an_id_that_nobody_could_read_is_refused(process: Process, key: Any) -> None:
    with pytest.raises(InvalidConfig, match="1 to 255 printable"):
        process.create(key)


@pytest.mark.parametrize("keep_ms", [0, -1, 1 << 62])
def test_a_job_cannot_be_kept_for_no_time_or_for_ever(process: Process, keep_ms: int) -> None:
    with pytest.raises(InvalidConfig, match="kept"):
        process.create("mine", keep_ms)


def test_a_result_above_the_limit_is_refused_and_long_text_is_cut(process: Process) -> None:
    id = process.create()

    with pytest.raises(ValueTooLarge):
        process.update(id, result=b"1" * (256 * 1024 + 1))
    view = process.update(id, note="x" * 3_000, percent=700, error="\ud800" + "y" * 3_000)

    assert (len(view.message), view.progress, len(view.error) < 2_100) == (2_000, 100.0, True)


def test_nothing_is_changed_once_it_is_over(process: Process) -> None:
    id = process.create("mine")
    process.update(id, error="boom")

    with pytest.raises(JobIsOver):
        process.update(id, result=b"1")
    with pytest.raises(JobNotFound):
        process.update("yours", result=b"1")


# -- once more -------------------------------------------------------------------------------------


def test_a_job_is_repeated_with_what_it_was_given(process: Process) -> None:
    first = sync(report.with_options(tags={"team": "a"}, retries=7).enqueue("a")).id

    second = sync(process.rerun(first))

    reader = process.store.reader
    runs = [process.run_id(id) for id in (first, second)]
    old, new = reader.inputs(runs)
    assert (new.function, new.input, new.retries) == (old.function, old.input, old.retries)
    assert reader.labels(new.id) == ["team=a"]
    told = [
        (record.moment, msgspec.json.decode(record.data))
        for run in runs
        for record in reader.history(run)
    ]
    assert told == [(Moment.REPEATED, {"run": second}), (Moment.REPEATS, {"run": first})]


def test_one_run_of_an_event_is_repeated_and_the_event_has_one_more(process: Process) -> None:
    sync(app.send(Ordered(n=1)))
    (row,) = process.store.reader.runs(RunFilter(function="confirm"))
    assert row.event is not None

    again = sync(process.rerun(process._public_id(row.id)))

    found = process.store.reader.runs_of_event(row.event)
    assert [run.id for run in found] == [row.id, process.run_id(again)]


def test_what_cannot_be_repeated_is_refused(process: Process) -> None:
    with pytest.raises(NotRepeatable, match="external"):
        sync(process.rerun(process.create("mine")))
    with pytest.raises(JobNotFound):
        sync(process.rerun("unknown"))
