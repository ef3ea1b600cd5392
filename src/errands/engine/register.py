"""Which functions there are."""

from errands.engine.decision import Decision
from errands.engine.input import Registered
from errands.engine.state import State
from errands.engine.transition import FunctionKept, Transition
from errands.model.call import KEPT
from errands.model.function import Function
from errands.model.ids import FunctionId


def registered(input: Registered, state: State) -> Decision:
    """Keep what is new or changed. Only a worker, which has the whole app, retires the rest."""
    app, transitions = input.app, list[Transition]()
    next_id = max(state.config.functions, default=0) + 1
    for config in app.functions:
        known = state.config.by_slug.get((app.name, config.slug))
        if known is None:
            transitions.append(FunctionKept(Function(FunctionId(next_id), app.name, config)))
            next_id += 1
        elif known.config != config or known.retired:
            transitions.append(FunctionKept(Function(known.id, app.name, config)))
    if input.is_complete:
        has = {config.slug for config in app.functions}
        transitions += [
            FunctionKept(Function(f.id, f.app, f.config, retired=True))
            for f in state.config.functions.values()
            if f.app == app.name and not f.retired and f.config.slug not in has
        ]
    return Decision(KEPT, transitions)
