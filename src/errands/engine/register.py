"""Which functions there are."""

from errands.engine.decision import Decision
from errands.engine.input import Registered
from errands.engine.state import State
from errands.engine.transition import FunctionKept, ShapeKept, Transition
from errands.model.call import KEPT
from errands.model.errors import InvalidConfig
from errands.model.function import EXTERNAL, AppConfig, Function
from errands.model.ids import FunctionId
from errands.model.step import Shape


def registered(input: Registered, state: State) -> Decision:
    """Keep what is new or changed. Only a worker, which has the whole app, retires the rest."""
    app, transitions = input.app, list[Transition]()
    _check_is_free(app, state)
    next_id = max(state.config.functions, default=0) + 1
    for config in app.functions:
        known = state.config.by_slug.get((app.name, config.slug))
        if known is None:
            transitions.append(FunctionKept(Function(FunctionId(next_id), app.name, config)))
            next_id += 1
        elif known.config != config or known.retired:
            transitions.append(FunctionKept(Function(known.id, app.name, config)))
    transitions += _shapes_of_cancels(app, state)
    if input.is_complete:
        has = {config.slug for config in app.functions}
        transitions += [
            FunctionKept(Function(f.id, f.app, f.config, retired=True))
            for f in state.config.functions.values()
            if f.app == app.name and not f.retired and f.config.slug not in has
            if f.id != EXTERNAL
        ]
    return Decision(KEPT, transitions)


def _check_is_free(app: AppConfig, state: State) -> None:
    """Raises InvalidConfig."""
    reserved = state.config.functions.get(EXTERNAL)
    if reserved is None or reserved.app != app.name:
        return
    if any(config.slug == reserved.config.slug for config in app.functions):
        raise InvalidConfig(
            f"App {app.name!r} has a function {reserved.config.slug!r}: that is what external jobs "
            "are called.",
            hint='Give the app or the function another id: id="…".',
        )


def _shapes_of_cancels(app: AppConfig, state: State) -> list[Transition]:
    """By what the events are looked up that cancel runs: known before the first run listens."""
    wanted = dict.fromkeys(
        (cancel.event, () if cancel.match is None else (cancel.match,))
        for config in app.functions
        for cancel in config.cancel
    )
    return [
        ShapeKept(Shape(state.new_id(), event, paths))
        for event, paths in wanted
        if state.config.new_shape(event, paths) is not None
    ]
