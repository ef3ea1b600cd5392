"""Who executes an item: leased here at once, or ready in its lane, or claimed from there."""

from collections.abc import Sequence
from itertools import zip_longest

from msgspec.structs import replace

from errands.engine.decision import Decision, holder
from errands.engine.input import Claim
from errands.engine.state import State
from errands.engine.transition import ItemMoved, Recorded, Transition
from errands.model.call import KEPT, LEASE_LOST, Leased, Refused, Released, Resumed
from errands.model.item import Item, Place, Urgency
from errands.model.run import Moment, Record


def leased(item: Item, state: State) -> Item:
    """The item, executed by this process from now on, under a new fence."""
    return replace(
        item,
        place=Place.RUNNING,
        updated_at=state.now,
        fence=item.fence + 1,
        worker=state.here.worker,
        leased_at=state.now,
        started_at=state.now if item.started_at is None else item.started_at,
        due=None,
        position=0,
    )


def readied(item: Item, state: State) -> Item:
    """The item at the end of its lane: whoever serves it may claim it."""
    return replace(
        item,
        place=Place.READY,
        updated_at=state.now,
        position=state.new_id(),
        worker=None,
        leased_at=None,
        due=None,
    )


def woken(item: Item, state: State) -> Item:
    """A parked item that may go on: here if there is room, which is also where its coroutine may
    be.
    """
    if item.crashes < 2 and state.can_lease(item.function, item.urgency):
        return leased(item, state)
    return readied(item, state)


def claim(input: Claim, state: State) -> Decision:
    """Take ready items: what continues before what starts, and in turn from each lane.

    A lane with a million waiting items delays the others by one item at a time. Answered by whether
    there may be more.

    While no suspect executes here, one place is theirs, before all others: they stand behind
    everybody in their lanes, and a steady load would leave them nothing. And one at a time: whoever
    dies with its worker as a suspect is struck out (see `liveness`), so it must be the only one.
    """
    lanes: dict[tuple[Urgency, int], list[Item]] = {}
    for candidate in state.claimable:
        item = state.items.get(candidate.run)
        if item is not None and item.place == Place.READY and item.position == candidate.position:
            lanes.setdefault((item.urgency, item.function), []).append(item)
    chosen: list[Item] = []
    for urgency in Urgency:
        queues = [queue for (of, _), queue in lanes.items() if of == urgency]
        row_by_row = [item for row in zip_longest(*queues) for item in row if item is not None]
        if urgency != Urgency.SUSPECT:
            chosen += row_by_row
        elif row_by_row and not state.here.suspects:
            # The one that has waited longest, of whatever lane.
            chosen.insert(0, min(row_by_row, key=lambda item: item.position))
    room = min(input.limit, max(state.room, 0))
    return Decision(len(chosen) >= room, [ItemMoved(leased(item, state)) for item in chosen[:room]])


def resumed(report: Resumed, state: State) -> Decision:
    """Code outside errands woke a parked run: lease it again, if nobody else has."""
    item = state.items.get(report.run)
    is_parked = item is not None and item.place == Place.PARKED and item.due is None
    if item is None or not is_parked or item.fence != report.fence or not state.is_alive:
        return Decision(LEASE_LOST)
    again = leased(item, state)
    return Decision(Leased(again.fence), (ItemMoved(again),))


def released(report: Released, state: State) -> Decision:
    """Given back unfinished; somebody else goes on from what is kept."""
    item = holder(state, report.run, report.fence)
    if isinstance(item, Refused):
        return Decision(item)
    transitions: Sequence[Transition] = (
        ItemMoved(readied(replace(item, seq=max(item.seq, report.seq)), state)),
        Recorded(Record(item.run, state.new_id(), state.now, Moment.RELEASED, report.why.encode())),
    )
    return Decision(KEPT, transitions)
