"""A run once more: a new run of the same function, with what the first was started with."""

import msgspec

from errands.engine.decision import Decision
from errands.engine.ingest import new_run
from errands.engine.input import Rerun
from errands.engine.state import State
from errands.engine.transition import Recorded, Transition
from errands.model.errors import JobNotFound, NotRepeatable
from errands.model.function import Function, FunctionKind
from errands.model.ids import RunId, public_id
from errands.model.run import Label, Moment, Record, Run

_encode = msgspec.json.Encoder().encode


def rerun(input: Rerun, state: State) -> Decision:
    """Both runs' histories tell of one another. Raises JobNotFound, NotRepeatable."""
    key = state.here.key
    old_id = public_id(input.run, key)
    old = state.runs.get(input.run)
    if old is None:
        raise JobNotFound(old_id)
    function = state.function(old)
    _check(old, function, state)
    new = Run(
        RunId(state.new_id()),
        old.function,
        old.event,
        old.input,
        retries=old.retries,
        trace=input.trace,
    )
    labels = tuple(Label(tag, new.id) for tag in input.tags)
    transitions: list[Transition] = new_run(new, function, state, labels)
    transitions += [
        _told(new.id, Moment.REPEATS, old_id, state),
        _told(old.id, Moment.REPEATED, public_id(new.id, key), state),
    ]
    return Decision(new.id, transitions)


def _told(run: RunId, moment: Moment, other: str, state: State) -> Recorded:
    return Recorded(Record(run, state.new_id(), state.now, moment, _encode({"run": other})))


def _check(run: Run, function: Function, state: State) -> None:
    """Raises NotRepeatable."""
    id = public_id(run.id, state.here.key)
    name = f"{function.app}/{function.config.slug}"
    match function.config.kind:
        case FunctionKind.EXTERNAL:
            raise NotRepeatable(
                id,
                "it is an external job, which errands does not execute",
                hint="Create a new job, and do its work again.",
            )
        case FunctionKind.FAILURE:
            failed = "" if run.parent is None else f", {public_id(run.parent, state.here.key)}"
            raise NotRepeatable(
                id,
                "it handles the failure of another run",
                hint=f"Repeat the run that failed{failed}; its handler comes again with it.",
            )
        case FunctionKind.EVENT | FunctionKind.JOB:
            pass
    if function.retired:
        raise NotRepeatable(
            id,
            f"function {name!r} is retired, its app no longer has it",
            hint="Start a worker with an app that declares the function, then repeat the run.",
        )
    if run.event is not None and run.event not in state.events:
        raise NotRepeatable(
            id,
            "its event is past its retention",
            hint="Send the event again, and keep events longer: ERRANDS_KEEP_EVENTS.",
        )
