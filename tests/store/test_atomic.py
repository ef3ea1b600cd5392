"""All of a batch is kept, or nothing."""

import subprocess
import sys
from collections.abc import Callable

import pytest
from msgspec.structs import replace

from errands.engine import transition as t
from errands.engine.absorb import absorb
from errands.engine.input import Poke
from errands.model.event import Event
from errands.model.function import Function
from errands.model.ids import EventId, FunctionId, RunId, WorkerId
from errands.model.item import Item, Place
from errands.model.run import Done, Label, LogLine, Moment, Progress, Record, Run, RunStatus
from errands.model.step import Shape, Step, StepKind, StepStatus, Wait
from errands.model.worker import Worker, WorkerState
from errands.store.interface import Store, StoreConflict
from tests.store.backdoor import content, plant_error, pull_error
from tests.store.batch import begin, load, write
from tests.store.process import NOW, REPORT

FUNCTION, WORKER = FunctionId(3), WorkerId(4)
TABLES = (
    "event dedup run label item ready step wait timer done history log progress inbox function "
    "shape meta worker beat"
).split()


def everything(number: int) -> list[t.Transition]:
    """A batch that writes to each table."""
    run = RunId(number)
    item = Item(run, FUNCTION, Place.READY, NOW, position=number, finish_by=NOW)
    step = Step(run, "paid", StepKind.EVENT, StepStatus.WAITING, due=NOW, match=1)
    worker = Worker(
        WorkerId(number), 1, 1, "host", "shop", WorkerState.ALIVE, started_at=NOW, beat_at=NOW
    )
    return [
        t.EventAppended(Event(EventId(number), "a", b"{}", NOW)),
        t.Deduplicated(0, f"{number}", number, NOW),
        t.RunCreated(Run(run, FUNCTION), (Label("x", run),)),
        t.ItemMoved(item),
        t.StepSaved(step),
        t.WaitRegistered(Wait(1, run, "paid", NOW)),
        t.RunFinished(Done(RunId(-number), FUNCTION, RunStatus.COMPLETED, NOW, NOW, b"1")),
        t.Recorded(Record(run, 1, NOW, Moment.PARKED, b"")),
        t.LogsKept((LogLine(run, 1, NOW, None, 0, 20, ""),)),
        t.ProgressKept(Progress(run, 1.0, None, NOW)),
        t.FollowUpQueued(Poke(run), WORKER),
        t.FunctionKept(Function(FunctionId(number), "shop", replace(REPORT, slug=f"{number}"))),
        t.ShapeKept(Shape(number, "a")),
        t.WorkerKept(worker),
        t.BeatKept(worker.id, NOW),
    ]


def test_the_batch_of_these_tests_writes_to_each_table(store: Store, url: str) -> None:
    before = content(url)

    write(store, *everything(10))

    after = content(url)
    assert [name for name in after if after[name] != before[name]] == [
        name for name in after if name != "migration"
    ]
    assert set(TABLES) == set(after) - {"migration"}


@pytest.mark.parametrize("table", TABLES)
def test_an_error_anywhere_in_a_batch_leaves_nothing_of_it(
    store: Store, url: str, table: str
) -> None:
    write(store, *everything(10))
    before = content(url)
    event = "UPDATE" if table == "meta" else "INSERT"
    plant_error(url, table, event)

    with pytest.raises(StoreConflict, match="planted"):
        write(store, *everything(20))

    assert content(url) == before
    pull_error(url, table)
    write(store, *everything(20))
    assert len(content(url)["event"]) == 2


def test_an_error_before_the_commit_leaves_nothing(store: Store, url: str) -> None:
    before = content(url)

    def fails() -> None:
        with store.transaction() as transaction:
            state = begin(transaction)
            absorb(state, everything(10))
            transaction.apply(state)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fails()

    assert content(url) == before


def test_nobody_sees_a_batch_before_it_is_committed(
    store: Store, open_again: Callable[[], Store]
) -> None:
    other = open_again()
    before = other.reader.counts()

    with store.transaction() as transaction:
        state = begin(transaction)
        absorb(state, everything(10))
        transaction.apply(state)
        assert other.reader.counts() == before
        assert store.reader.counts() == before

    assert other.reader.counts() != before


STOPS_BEFORE_ITS_COMMIT = """
import sys
from errands.store.open import open_store
from errands.engine.absorb import absorb
from tests.store.backdoor import content, plant_error, pull_error
from tests.store.batch import begin
from tests.store.test_atomic import everything

with open_store(sys.argv[1]).transaction() as transaction:
    state = begin(transaction)
    absorb(state, everything(10))
    transaction.apply(state)
    print("applied", flush=True)
    sys.stdin.read()
"""


def test_a_process_that_dies_before_its_commit_leaves_nothing_and_holds_up_nobody(
    store: Store, url: str
) -> None:
    before = content(url)
    dying = subprocess.Popen(
        [sys.executable, "-c", STOPS_BEFORE_ITS_COMMIT, url],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert dying.stdin is not None
    assert dying.stdout is not None
    assert dying.stdout.readline() == "applied\n"

    dying.kill()
    dying.communicate()

    assert load(store, events=[EventId(10)]).events == {}
    assert content(url) == before
    write(store, *everything(10))
