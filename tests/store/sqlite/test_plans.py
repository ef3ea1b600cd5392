"""Each statement goes by an index: none reads a table that grows, none sorts what grows."""

import re
import sqlite3
from collections.abc import Iterator

import pytest

from errands.engine.config import Config
from errands.model.function import Function, FunctionConfig, FunctionKind
from errands.model.ids import FunctionId, RunId
from errands.store.filters import ENDED, STARTED, run_filters
from errands.store.interface import RunFilter
from errands.store.open import open_store
from errands.store.queries import Queries

QUERIES = Queries("errands.store.sqlite")
ROW = re.compile(r"VALUES \((\?, )*\?\)")
GIVEN = re.compile(
    r"SCAN (json_each|(\d+ )?CONSTANT ROWS?|\d+-ROW VALUES CLAUSE|v$|\(subquery-\d+\)|lanes)"
)
"""What is given by the caller, or is made by the statement itself."""
SMALL = re.compile(r"SCAN (function|shape)\b")
"""What is registered: some hundreds of rows."""
SCANS = {
    # One row: the first in the order of the key.
    "next_timer": ("SCAN timer",),
    "oldest_inbox": ("SCAN inbox",),
    # Newest first, and a list ends when it is full.
    "list_runs": ("SCAN run",),
    # Its first thousand entries.
    "trim_dedup": ("SCAN dedup USING COVERING INDEX dedup_expires",),
    # One row for each start of a process, of those that have gone not long ago.
    "list_workers": ("SCAN worker USING INDEX worker_alive",),
    "trim_workers": ("SCAN worker",),
    "trim_beats_of_gone": ("SCAN beat",),
    # For `errands doctor`, when somebody asks.
    "count_ready": ("SCAN ready",),
    "count_held_items": ("SCAN item USING COVERING INDEX item_worker",),
}
SORTS = {
    # As many rows as were asked for by their key.
    "load_dedup",
    "load_steps",
    # The steps of one run.
    "list_steps",
    "load_memo",
    # One row for each lane.
    "load_lanes",
}
HOT = {
    "load_items": "SEARCH item USING INTEGER PRIMARY KEY (rowid=?)",
    "load_held_items": "SEARCH item USING INDEX item_worker (worker=?)",
    "load_runs": "SEARCH run USING INTEGER PRIMARY KEY (rowid=?)",
    "load_events": "SEARCH event USING INTEGER PRIMARY KEY (rowid=?)",
    "load_dedup": "SEARCH dedup USING PRIMARY KEY (scope=? AND key=?)",
    "load_steps": "SEARCH step USING PRIMARY KEY (run=? AND id=?)",
    "load_waits": "SEARCH wait USING PRIMARY KEY (match=? AND (run,step)>(?,?))",
    "load_inbox": "SEARCH inbox USING INTEGER PRIMARY KEY (rowid=?)",
    "load_busy_lane": "SEARCH ready USING PRIMARY KEY (lane=?)",
    "load_lanes": "SEARCH ready USING PRIMARY KEY (lane>?)",
    "claim_items": "SEARCH ready USING PRIMARY KEY (lane=? AND class=?)",
    "update_items": "SEARCH item USING INTEGER PRIMARY KEY (rowid=?)",
    "delete_items": "SEARCH item USING INTEGER PRIMARY KEY (rowid=?)",
    "delete_ready": "SEARCH ready USING PRIMARY KEY (lane=? AND class=? AND position=?)",
    "update_steps": "SEARCH step USING PRIMARY KEY (run=? AND id=?)",
    # What is left to compare is one run's: few rows have all but the last column in common.
    "delete_waits": "SEARCH wait USING PRIMARY KEY (match=? AND run=?)",
    "delete_timers": "SEARCH timer USING PRIMARY KEY (due=? AND run=? AND kind=?)",
    "list_due_timers": "SEARCH timer USING PRIMARY KEY (due<?)",
    "list_inbox": "SEARCH inbox USING INDEX inbox_worker (worker=? AND id>?)",
    "load_memo": "SEARCH step USING PRIMARY KEY (run=?)",
    "trim_dedup": "SEARCH dedup USING COVERING INDEX dedup_expires (expires_at<?)",
    "load_progress": "SEARCH progress USING INTEGER PRIMARY KEY (rowid=?)",
    "find_key": "SEARCH dedup USING PRIMARY KEY (scope=? AND key=?)",
    "list_events": "SEARCH event USING INTEGER PRIMARY KEY (rowid<?)",
    "list_events_named": "SEARCH event USING INTEGER PRIMARY KEY (rowid>? AND rowid<?)",
    "list_expired_jobs": "SEARCH done USING INDEX done_external (keep_until<?)",
    "load_ended": "SEARCH done USING INTEGER PRIMARY KEY (rowid=?)",
    "load_disposable": "SEARCH child USING COVERING INDEX run_parent (parent=?)",
    # As for waits: few runs have very many steps.
    "delete_steps": "SEARCH step USING PRIMARY KEY (run=?)",
    "delete_history": "SEARCH history USING PRIMARY KEY (run=? AND id=?)",
    "delete_logs": "SEARCH log USING PRIMARY KEY (run=? AND id=?)",
    "list_expired_runs": "SEARCH done USING INTEGER PRIMARY KEY (rowid<?)",
    "list_expired_events": "SEARCH event USING INTEGER PRIMARY KEY (rowid>? AND rowid<?)",
}


@pytest.fixture(scope="module")
def db(tmp_path_factory: pytest.TempPathFactory) -> Iterator[sqlite3.Connection]:
    path = tmp_path_factory.mktemp("store") / "errands.db"
    open_store(f"sqlite:///{path}").close()
    db = sqlite3.connect(path)
    yield db
    db.close()


def plan(db: sqlite3.Connection, text: str) -> list[str]:
    """One line for each table or list that the statement walks through."""
    names = set(re.findall(r":(\w+)", text))
    numbered = re.findall(r"\?(\d)", text)
    places = len(set(numbered)) if numbered else re.sub(r"--.*", "", text).count("?")
    # Lists of keys are given as JSON; it is enough that it parses.
    given: object = dict.fromkeys(names, 1) if names else ["1"] * places
    return [row[3] for row in db.execute(f"EXPLAIN QUERY PLAN {text}", given)]  # type: ignore[arg-type]


def text_of(name: str) -> str:
    """The statement as it is executed: those for many rows with several."""
    text = QUERIES[name].replace("{filters}", "1 = 1")
    return QUERIES.rows(name, 4) if ROW.search(text) else text


@pytest.mark.parametrize("name", QUERIES.names)
def test_no_statement_walks_through_a_table_that_grows(db: sqlite3.Connection, name: str) -> None:
    allowed = SCANS.get(name, ())
    assert [
        line
        for line in plan(db, text_of(name))
        if line.startswith("SCAN")
        and not GIVEN.match(line)
        and not SMALL.match(line)
        and line not in allowed
    ] == []


@pytest.mark.parametrize("name", QUERIES.names)
def test_no_statement_sorts_what_grows(db: sqlite3.Connection, name: str) -> None:
    sorts = [line for line in plan(db, text_of(name)) if "TEMP B-TREE" in line]

    assert bool(sorts) <= (name in SORTS)


@pytest.mark.parametrize("name", HOT)
def test_a_hot_statement_goes_by_its_index(db: sqlite3.Connection, name: str) -> None:
    assert HOT[name] in plan(db, text_of(name))


def test_the_runs_of_an_event_are_found_by_an_index(db: sqlite3.Connection) -> None:
    lines = plan(db, QUERIES["list_runs"].replace("{filters}", "run.event = :event"))

    assert "SEARCH run USING INDEX run_event (event=?)" in lines
    assert not any("TEMP B-TREE" in line for line in lines)


@pytest.mark.parametrize("status", [None, *STARTED, *ENDED])
@pytest.mark.parametrize("tag", [None, "team=a"])
@pytest.mark.parametrize("before", [None, RunId(9)])
@pytest.mark.parametrize("function", [None, "report"])
def test_a_list_of_runs_sorts_at_most_what_is_rare(
    db: sqlite3.Connection,
    status: str | None,
    tag: str | None,
    before: RunId | None,
    function: str | None,
) -> None:
    report = Function(FunctionId(3), "shop", FunctionConfig("report", "report", FunctionKind.JOB))
    filter = RunFilter(function=function, status=status, tag=tag, before=before)
    condition, _ = run_filters(filter, Config(1, [report]))
    lines = plan(db, QUERIES["list_runs"].replace("{filters}", condition))

    walked = [line for line in lines if line.startswith("SCAN")]
    is_rare = status in (*STARTED, "failed", "cancelled") or tag is not None
    has_index = any(line.startswith("SEARCH run USING I") for line in lines)
    assert has_index or (walked == ["SCAN run"] and not is_rare and function is None)
    assert is_rare or not any("TEMP B-TREE" in line for line in lines)
