"""How transitions change what a batch knows: the overlay that its later inputs are decided on."""

from collections.abc import Callable, Sequence
from typing import Any

from errands.engine import transition as t
from errands.engine.state import State
from errands.model.ids import RunId
from errands.model.item import Item, Place, Urgency
from errands.model.timer import Timer, TimerKind


def absorb(state: State, transitions: Sequence[t.Transition]) -> None:
    """Let these have happened."""
    for transition in transitions:
        ABSORB[type(transition)](state, transition)


def item_moved(state: State, moved: t.ItemMoved) -> None:
    move(state, moved.item.run, moved.item)


def move(state: State, run: RunId, new: Item | None) -> None:
    old = state.items.now.get(run)
    mine = state.here.worker
    if old is not None:
        if old.place == Place.READY:
            state.ready.remove((old.function, int(old.urgency), old.position))
        elif old.place == Place.RUNNING and old.worker == mine:
            state.room += 1
        for timer in timers_of(old):
            state.timers.remove(timer)
    if new is not None:
        if new.place == Place.READY:
            state.ready.add((new.function, int(new.urgency), new.position), run)
            ahead = state.busy_lanes.get(new.function, Urgency.SUSPECT)
            state.busy_lanes[new.function] = min(ahead, int(new.urgency))
        elif new.place == Place.RUNNING and new.worker == mine:
            state.room -= 1
        for timer in timers_of(new):
            state.timers.add(timer, None)
    state.items.put(run, new)


def run_finished(state: State, finished: t.RunFinished) -> None:
    state.done.append(finished.done)
    state.ended[finished.done.run] = None
    move(state, finished.done.run, None)


def step_saved(state: State, saved: t.StepSaved) -> None:
    new = saved.step
    key = (new.run, new.id)
    old = state.steps.now.get(key)
    if old is not None and old.is_open:
        if old.due is not None:
            state.timers.remove(Timer(old.due, old.run, TimerKind.STEP, old.id))
        if old.match is not None and not new.is_open:
            forget_wait(state, old.match, old.run, old.id)
    if new.is_open and new.due is not None:
        state.timers.add(Timer(new.due, new.run, TimerKind.STEP, new.id), None)
    if new.seq is None:
        state.unseen.setdefault(new.run, {})[new.id] = None
    state.steps.put(key, new)


def forget_wait(state: State, match: int, run: RunId, step: str) -> None:
    state.wait_rows.remove((match, run, step))
    if match in state.waits:
        state.waits[match] = [w for w in state.waits[match] if (w.run, w.step) != (run, step)]


def wait_registered(state: State, registered: t.WaitRegistered) -> None:
    wait = registered.wait
    state.last_wait = max(state.last_wait, wait.number)
    state.wait_rows.add((wait.match, wait.run, wait.step), wait)
    state.waits.setdefault(wait.match, []).append(wait)


def run_created(state: State, created: t.RunCreated) -> None:
    state.new_runs.append(created.run)
    state.runs[created.run.id] = created.run
    state.labels.extend(created.labels)


def event_appended(state: State, appended: t.EventAppended) -> None:
    state.new_events.append(appended.event)
    state.events[appended.event.id] = appended.event


def deduplicated(state: State, d: t.Deduplicated) -> None:
    state.dedup.put((d.scope, d.key), (d.ref, d.expires_at))


def poked(state: State, poked: t.Poked) -> None:
    # A reason may be empty, and still means that the run is over.
    stop = poked.stop if poked.stop is not None else state.poked.get(poked.run)
    state.poked[poked.run] = stop


def follow_up_queued(state: State, q: t.FollowUpQueued) -> None:
    # Who is taken for dead has no inbox that anybody would look after.
    is_lost = q.worker == state.here.worker and not state.is_alive
    state.queued.append((q.follow_up, None if is_lost else q.worker))


def follow_up_done(state: State, done: t.FollowUpDone) -> None:
    if state.inbox.pop(done.inbox, 0) is None:
        state.inbox_done.append(done.inbox)


def worker_kept(state: State, kept: t.WorkerKept) -> None:
    state.workers.put(kept.worker.id, kept.worker)


def function_kept(state: State, kept: t.FunctionKept) -> None:
    state.functions.append(kept.function)
    state.config_changed = True


def shape_kept(state: State, kept: t.ShapeKept) -> None:
    state.shapes.append(kept.shape)
    state.config_changed = True


def progress_kept(state: State, kept: t.ProgressKept) -> None:
    state.progress[kept.progress.run] = kept.progress


def timers_of(item: Item) -> Sequence[Timer]:
    """The alarm clocks that an item's row implies."""
    if item.due is None and item.start_by is None and item.finish_by is None:
        return ()
    found: list[Timer] = []
    if item.due is not None:
        found.append(Timer(item.due, item.run, TimerKind.START))
    if item.start_by is not None and item.started_at is None:
        found.append(Timer(item.start_by, item.run, TimerKind.START_BY))
    if item.finish_by is not None:
        found.append(Timer(item.finish_by, item.run, TimerKind.FINISH_BY))
    return found


# A dispatch table rather than match: this is the innermost loop of everything.
ABSORB: dict[type, Callable[[State, Any], None]] = {
    t.EventAppended: event_appended,
    t.Deduplicated: deduplicated,
    t.RunCreated: run_created,
    t.ItemMoved: item_moved,
    t.RunFinished: run_finished,
    t.StepSaved: step_saved,
    t.WaitRegistered: wait_registered,
    t.Poked: poked,
    t.TimerForgotten: lambda state, gone: state.timers.remove(gone.timer),
    t.Recorded: lambda state, recorded: state.records.append(recorded.record),
    t.LogsKept: lambda state, kept: state.logs.extend(kept.lines),
    t.ProgressKept: progress_kept,
    t.FollowUpQueued: follow_up_queued,
    t.FollowUpMoved: lambda state, m: state.inbox_moved.append((m.inbox, m.worker)),
    t.FollowUpDone: follow_up_done,
    t.InboxFreed: lambda state, freed: state.inbox_freed.append(freed.worker),
    t.FunctionKept: function_kept,
    t.ShapeKept: shape_kept,
    t.WorkerKept: worker_kept,
    t.BeatKept: lambda state, beat: state.beats.append((beat.worker, beat.at)),
    t.Trimmed: lambda state, trimmed: state.trimmed.append(trimmed),
}
