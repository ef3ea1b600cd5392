"""What a batch needs, brought into its state. Nothing here waits for a lock.

What is to be changed is locked as it is read: an item for all that belongs to its run, an inbox row
for its input, a run without an item, a worker. What somebody else holds is left out, and told: the
inputs that need it are tried again. Each statement sees what was committed before it, so whatever
is read behind a lock is as the last holder has left it.
"""

import random
from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

from errands.engine.decide import Needs
from errands.engine.liveness import STRIKES
from errands.engine.state import PAGE, State
from errands.model.ids import RunId, WorkerId
from errands.model.item import Item, Place, Urgency
from errands.store import rows
from errands.store.postgres.ask import Asker, Cursor
from errands.store.postgres.heads import Heads

Id = TypeVar("Id", bound=int)
Then = Callable[[list[rows.Row]], None]


class Loader:
    """One load. `locked`: what others hold of it."""

    def __init__(self, asker: Asker, heads: Heads, needs: Needs, state: State) -> None:
        self._asker, self._heads = asker, heads
        self._needs, self._state = needs, state
        self.locked = Needs()
        self._waiting: list[tuple[Cursor, Then]] = []

    def load(self) -> bool:
        """False if something is locked."""
        needs = self._needs
        unlocked = [*needs.ended, *(run for run in needs.runs if run not in needs.items)]
        self._hold_workers()
        self._hold(needs.inbox, "inbox", self.locked.inbox, self._keep_inbox)
        self._hold(dict.fromkeys(unlocked), "runs", self.locked.runs, _nothing)
        self._hold(needs.items, "items", self.locked.items, self._keep_items)
        self._hold(needs.events, "events", self.locked.events, self._keep_events)
        self._read()
        self._settle()
        self._read_more()
        self._settle()
        self._claim()
        locked = self.locked
        return not (locked.items or locked.inbox or locked.runs or locked.events or locked.held_by)

    def _then(self, cursor: Cursor, then: Then) -> None:
        self._waiting.append((cursor, then))

    def _settle(self) -> None:
        """Take the answers in. What they ask in turn is asked together."""
        while self._waiting:
            waiting, self._waiting = self._waiting, []
            for cursor, then in waiting:
                then(self._asker.answer(cursor))

    def _rows(self, name: str, ids: Sequence[int]) -> list[rows.Row]:
        return self._asker.answer(self._asker.among(name, ids))

    # -- under locks ---------------------------------------------------------------------------

    def _hold(
        self, wanted: Mapping[Id, None], kind: str, locked: dict[Id, None], keep: Then
    ) -> None:
        """Lock and read these; which of those that did not come exist, and are held elsewhere?"""
        if not wanted:
            return

        def held(found: list[rows.Row]) -> None:
            keep(found)
            if len(found) < len(wanted):
                got = {row[0] for row in found}
                missing = [id for id in wanted if id not in got]
                self._then(self._asker.among(f"exist_{kind}", missing), exist)

        def exist(found: list[rows.Row]) -> None:
            locked.update(dict.fromkeys(id for (id, *_) in found))

        self._then(self._asker.among(f"hold_{kind}", list(wanted)), held)

    def _keep_inbox(self, found: list[rows.Row]) -> None:
        self._state.inbox.update(dict.fromkeys(id for (id,) in found))

    def _keep_events(self, found: list[rows.Row]) -> None:
        for row in found:
            self._state.events[row[0]] = rows.Event(*row)

    def _keep_items(self, found: list[rows.Row]) -> None:
        now, lanes = self._state.items.now, self._needs.lanes
        for row in found:
            now[row[0]] = item = rows.to_item(row)
            if item.place == Place.PARKED:
                # It may be woken: whom would it pass?
                lanes[item.function] = None

    def _hold_workers(self) -> None:
        """Workers that end, with all that they hold; or it has to wait, with all of it."""
        wanted = self._needs.held_by
        if not wanted:
            return
        found = {id for (id,) in self._rows("hold_workers", list(wanted))}
        missing = [worker for worker in wanted if worker not in found]
        if missing:
            for (id,) in self._rows("exist_workers", missing):
                self.locked.held_by[id] = None
        for worker in wanted:
            if worker not in self.locked.held_by and not self._hold_all_of(worker):
                self.locked.held_by[worker] = None

    def _hold_all_of(self, worker: WorkerId) -> bool:
        # As long as the worker's row is held nothing is added to what it holds.
        ask = self._asker.ask
        items, inbox = ask("hold_items_of", worker), ask("hold_inbox_of", worker)
        counts = [ask("count_items_of", worker), ask("count_inbox_of", worker)]
        held = [rows.to_item(row) for row in self._asker.answer(items)]
        queued = self._asker.answer(inbox)
        if [self._asker.answer(counted)[0][0] for counted in counts] != [len(held), len(queued)]:
            return False
        self._state.held[worker] = held
        for item in held:
            self._state.items.now[item.run] = item
            if item.crashes + 1 >= STRIKES:
                self._needs.unseen[item.run] = None
                self._needs.runs[item.run] = None
        return True

    # -- what is only read ---------------------------------------------------------------------

    def _read(self) -> None:
        needs, state, asker = self._needs, self._state, self._asker
        if needs.dedup:
            self._then(asker.many("load_dedup", list(needs.dedup)), self._keep_dedup)
        if needs.workers:
            self._then(asker.among("load_workers", list(needs.workers)), self._keep_workers)
        if needs.steps:
            self._then(asker.many("load_steps", list(needs.steps)), self._keep_steps)
        if needs.unseen:
            self._then(asker.among("load_unseen_steps", list(needs.unseen)), self._keep_unseen)
        if needs.runs:
            self._then(asker.among("load_runs", list(needs.runs)), self._keep_runs)
        if needs.progress:
            self._then(asker.among("load_progress", list(needs.progress)), self._keep_progress)
        if needs.ended:
            self._then(
                asker.among("load_ended", list(needs.ended)),
                lambda found: state.ended.update(dict.fromkeys(run for (run,) in found)),
            )
        for match in needs.waits:
            self._read_waits(match, RunId(0), "")
        for match, run, step in needs.waits_after:
            self._read_waits(match, run, step)

    def _keep_dedup(self, found: list[rows.Row]) -> None:
        for scope, key, ref, expires_at in found:
            self._state.dedup.now[scope, key] = (ref, expires_at)

    def _keep_workers(self, found: list[rows.Row]) -> None:
        for row in found:
            self._state.workers.now[row[0]] = rows.to_worker(row)

    def _keep_steps(self, found: list[rows.Row]) -> None:
        for row in found:
            step = rows.to_step(row)
            self._state.steps.now[step.run, step.id] = step
            if step.seq is None:
                self._state.unseen.setdefault(step.run, {})[step.id] = None

    def _keep_unseen(self, found: list[rows.Row]) -> None:
        for row in found:
            step = rows.to_step(row)
            self._state.steps.now[step.run, step.id] = step
            self._state.unseen.setdefault(step.run, {})[step.id] = None

    def _keep_runs(self, found: list[rows.Row]) -> None:
        for row in found:
            run = rows.Run(*row)
            self._state.runs[run.id] = run

    def _keep_progress(self, found: list[rows.Row]) -> None:
        for row in found:
            self._state.said[row[0]] = rows.Progress(*row)

    def _read_waits(self, match: int, run: RunId, step: str) -> None:
        def keep(found: list[rows.Row]) -> None:
            if found:
                page = [rows.Wait(*row) for row in found]
                self._state.pages[match, run, step] = page
                if not run:
                    self._state.waits[match] = page.copy()

        self._then(self._asker.ask("load_waits", match, run, step, PAGE), keep)

    # -- lanes ---------------------------------------------------------------------------------

    def _wanted(self) -> int:
        return min(self._needs.claim, max(self._state.room, 0) + self._needs.finishing)

    def _read_more(self) -> None:
        """Which lanes have somebody ready: of those where a run might begin, or be claimed."""
        serves = self._state.here.serves
        self._is_whole = False
        lanes = [lane for lane in self._needs.lanes if lane in serves]
        if self._wanted() > 0:
            self._is_whole = self._heads.is_whole("claim")
            lanes = list(dict.fromkeys([*lanes, *serves]))
        if lanes:
            asked = [
                (lane, int(urgency), self._after(lane, urgency))
                for lane in lanes
                for urgency in Urgency
            ]
            self._then(self._asker.many("list_heads", asked), self._keep_heads)

    def _after(self, lane: int, urgency: int) -> int:
        whole = -(1 << 63)
        return whole if self._is_whole else self._heads.after(lane, urgency)

    def _keep_heads(self, found: list[rows.Row]) -> None:
        self._found = found
        needed = self._needs.lanes
        for lane, urgency, position in found:
            self._heads.found(lane, urgency, position)
            if lane in needed:
                self._state.busy_lanes[lane] = min(
                    urgency, self._state.busy_lanes.get(lane, urgency)
                )

    _found: Sequence[rows.Row] = ()
    _is_whole = False

    def _claim(self) -> None:
        """The heads of the lanes served here, and no more than are wanted: whoever is locked here
        is passed over by others.
        """
        wanted = self._wanted()
        if wanted <= 0:
            return
        claimed: list[Item] = []
        for urgency in Urgency:
            lanes = [
                lane
                for lane, of, _ in self._found
                if of == urgency and lane in self._state.here.serves
            ]
            if urgency == Urgency.SUSPECT:
                if not self._state.here.suspects:
                    claimed += self._take(lanes, urgency, len(lanes), 1)
            else:
                claimed += self._take(lanes, urgency, wanted - len(claimed), wanted)
        for item in claimed:
            self._state.items.now[item.run] = item
        self._state.claimable = claimed
        if len(claimed) < wanted:
            self._heads.fell_short("claim", is_whole=self._is_whole)

    def _take(self, lanes: list[int], urgency: Urgency, wanted: int, most: int) -> list[Item]:
        """So many, from each lane about as many: what some do not have, others may give. That is
        rounded up, so there may be one more of a lane.
        """
        taken: list[Item] = []
        after = {lane: self._after(lane, urgency) for lane in lanes}
        while lanes and (left := wanted - len(taken)) > 0:
            # Where there are more lanes than places, chance decides whose turn it is.
            turn = lanes if len(lanes) <= left else random.sample(lanes, left)
            share = min(most, -(-left // len(turn)))
            asked = [(lane, int(urgency), after[lane], share) for lane in turn]
            claimed = self._asker.answer(self._asker.many("claim_items", asked))
            found = [rows.to_item(row) for row in claimed]
            counts = dict.fromkeys(turn, 0)
            for item in found:
                counts[item.function] += 1
                after[item.function] = item.position + 1
                self._heads.taken(item.function, int(urgency), item.position)
            taken += found
            # Who gave all that was asked of it may have more.
            lanes = [lane for lane in lanes if counts.get(lane, share) == share < most]
        return taken


def _nothing(found: list[rows.Row]) -> None: ...
