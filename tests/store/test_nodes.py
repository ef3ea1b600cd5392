"""Node numbers are part of every id: no two that live have the same."""

from collections.abc import Callable

import pytest

from errands.engine.input import WorkerLeft
from errands.engine.transition import WorkerKept
from errands.model.errors import StoreError
from errands.model.ids import NODES, WorkerId
from errands.model.worker import Worker, WorkerState
from errands.store.interface import Store
from tests.store.batch import write
from tests.store.process import NOW, Process, StillClock, join


def at(node: int, state: WorkerState = WorkerState.ALIVE) -> WorkerKept:
    """A worker of that node, as an earlier join has left it."""
    return WorkerKept(Worker(WorkerId(1 + node), node, 1, "host", "shop", state, NOW, NOW))


def next_node(store: Store) -> int:
    with store.transaction() as transaction:
        return transaction.free_node()


def test_fifty_who_join_have_fifty_nodes(
    open_again: Callable[[], Store], clock: StillClock
) -> None:
    stores = [open_again() for _ in range(5)]

    workers = [join(stores[n % 5], clock) for n in range(50)]

    assert len({worker.node for worker in workers}) == 50
    assert len({worker.id for worker in workers}) == 50
    assert stores[0].reader.workers() == sorted(workers, key=lambda worker: worker.id)


def test_a_node_is_not_used_again_at_once(store: Store, clock: StillClock) -> None:
    # Its last ids and a successor's first ones may be of one millisecond.
    first = Process(store, clock)
    first.decide(WorkerLeft(first.worker.id))

    assert join(store, clock).node != first.worker.node


def test_nodes_begin_again_after_the_last_and_pass_over_who_lives(store: Store) -> None:
    write(store, at(0), at(1, WorkerState.LEFT), at(2), at(NODES - 1))
    assert next_node(store) == 1


def test_a_dead_workers_node_is_free(store: Store) -> None:
    write(store, *(at(node) for node in range(NODES) if node != 7), at(7, WorkerState.DEAD))

    assert next_node(store) == 7


def test_there_are_no_more_processes_than_nodes(store: Store) -> None:
    write(store, *map(at, range(NODES)))

    with pytest.raises(StoreError, match="1024"):
        next_node(store)


def test_a_node_is_held_for_as_long_as_its_process_lives(store: Store, clock: StillClock) -> None:
    worker = join(store, clock)
    assert not store.is_node_dead(worker.node)

    store.drop_node(worker.node)

    assert store.is_node_dead(worker.node)
