"""Row <-> model, shared by the dialects. Column order is field order.

Enums become plain integers here: a driver looks for an adapter at each value that is not exactly
one.
"""

from typing import Any

import msgspec

from errands.model.event import Event
from errands.model.function import Function, FunctionConfig
from errands.model.item import Item, Place
from errands.model.run import Done, LogLine, Moment, Progress, Record, Run, RunStatus
from errands.model.step import Shape, Step, StepKind, StepStatus, Wait
from errands.model.timer import Timer, TimerKind
from errands.model.worker import Worker, WorkerState

Row = tuple[Any, ...]
PLACES = {int(p): p for p in Place}
KINDS = {int(k): k for k in StepKind}
STATUSES = {int(s): s for s in StepStatus}
OUTCOMES = {int(s): s for s in RunStatus}
_config = msgspec.json.Decoder(FunctionConfig)
_paths = msgspec.json.Decoder(tuple[str, ...])
_encode = msgspec.json.Encoder().encode


def event_row(e: Event) -> Row:
    return (e.id, e.name, e.data, e.at, e.key, e.user, e.v)


def run_row(r: Run) -> Row:
    return (r.id, r.function, r.event, r.input, r.parent, r.parent_step, r.retries, r.trace)


def done_row(d: Done) -> Row:
    return (
        d.run, d.function, int(d.status), d.at, d.keep_until, d.output, d.attempt, d.started_at,
        d.worker,
    )  # fmt: skip


def to_done(row: Row) -> Done:
    return Done(row[0], row[1], OUTCOMES[row[2]], *row[3:])


def item_row(i: Item) -> Row:
    return (
        i.run, i.function, int(i.place), i.updated_at, i.fence, i.attempt, i.crashes, i.seq,
        i.position,
        i.due, i.worker, i.leased_at, i.started_at, i.start_by, i.finish_by, i.parent,
        i.parent_step,
    )  # fmt: skip


def item_change(i: Item) -> Row:
    """What may change in an item, its key first."""
    return (
        i.run, int(i.place), i.updated_at, i.fence, i.attempt, i.crashes, i.seq, i.position,
        i.due, i.worker, i.leased_at, i.started_at, i.finish_by,
    )  # fmt: skip


def to_item(row: Row) -> Item:
    return Item(row[0], row[1], PLACES[row[2]], *row[3:])


def step_row(s: Step) -> Row:
    return (
        s.run, s.id, int(s.kind), int(s.status), s.seq, s.attempt, int(s.main), s.started_at, s.at,
        s.due,
        s.match, s.output,
    )  # fmt: skip


def step_change(s: Step) -> Row:
    return (s.run, s.id, int(s.status), s.seq, s.attempt, s.started_at, s.at, s.due, s.output)


def to_step(row: Row) -> Step:
    return Step(
        row[0], row[1], KINDS[row[2]], STATUSES[row[3]], row[4], row[5], bool(row[6]), *row[7:]
    )


def wait_row(w: Wait) -> Row:
    return (w.match, w.run, w.step, w.number, w.condition, w.context)


def timer_row(t: Timer) -> Row:
    return (t.due, t.run, int(t.kind), t.step)


def to_timer(row: Row) -> Timer:
    return Timer(row[0], row[1], TimerKind(row[2]), row[3])


def record_row(r: Record) -> Row:
    return (r.run, r.id, r.at, int(r.moment), r.data)


def to_record(row: Row) -> Record:
    return Record(row[0], row[1], row[2], Moment(row[3]), row[4])


def log_row(line: LogLine) -> Row:
    return (line.run, line.id, line.at, line.step, line.attempt, line.level, line.text)


def progress_row(p: Progress) -> Row:
    return (p.run, p.percent, p.note, p.at)


def function_row(f: Function) -> Row:
    return (f.id, f.app, f.config.slug, _encode(f.config), int(f.retired))


def to_function(row: Row) -> Function:
    return Function(row[0], row[1], _config.decode(row[2]), bool(row[3]))


def shape_row(s: Shape) -> Row:
    return (s.id, s.event, _encode(s.paths))


def to_shape(row: Row) -> Shape:
    return Shape(row[0], row[1], _paths.decode(row[2]))


def worker_row(w: Worker) -> Row:
    return (w.id, w.node, w.pid, w.host, w.app, int(w.state), w.started_at, w.concurrency)


def to_worker(row: Row) -> Worker:
    return Worker(
        row[0], row[1], row[2], row[3], row[4], WorkerState(row[5]), row[6], row[7], row[8]
    )
