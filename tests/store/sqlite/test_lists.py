"""Lists that are looked through in pieces."""

from pathlib import Path

from errands.engine.transition import EventAppended
from errands.model.event import Event
from errands.model.ids import EventId
from errands.store.interface import EventFilter
from errands.store.sqlite.reader import LOOKED_AT_ONCE
from errands.store.sqlite.store import SqliteStore
from tests.store.batch import write
from tests.store.process import NOW


def test_a_rare_event_is_found_behind_many_others(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "errands.db", is_durable=False)
    last = LOOKED_AT_ONCE + 9
    rare = {1, 2, last}
    events = [
        Event(EventId(id), "rare" if id in rare else "often", b"{}", NOW)
        for id in range(1, last + 1)
    ]
    write(store, *map(EventAppended, events))

    found = store.reader.list_events(EventFilter(name="rare", limit=2))
    older = store.reader.list_events(EventFilter(name="rare", before=found[-1].id))

    assert [event.id for event in [*found, *older]] == [last, 2, 1]
    store.close()
