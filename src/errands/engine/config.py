"""What is registered: functions, and the shapes by which waits are looked up. Replaced whole, never
changed.
"""

from collections.abc import Iterable, Sequence

from errands.engine.match import matches_name
from errands.model.function import EXTERNAL, Function, FunctionKind
from errands.model.ids import FunctionId
from errands.model.step import Shape

REMEMBERED_MAX = 10_000
"""Event names whose functions and shapes are remembered; then all are looked up anew."""
NAMES_MAX = 100
"""Event names that have a shape of their own for the same paths. Then one is made for all: names
may be dynamic, and each event looks at every shape that it fits.
"""


class Config:
    """One version of it, with indexes. Safe to share between threads."""

    def __init__(
        self, version: int, functions: Iterable[Function] = (), shapes: Iterable[Shape] = ()
    ) -> None:
        self.version = version
        self.functions: dict[FunctionId, Function] = {f.id: f for f in functions}
        self.by_slug = {
            (f.app, f.config.slug): f for f in self.functions.values() if f.id != EXTERNAL
        }
        """Of what can be called."""
        self.failure_handlers = tuple(
            f.id for f in self.functions.values() if f.config.kind == FunctionKind.FAILURE
        )
        self.shapes = tuple(shapes)
        self._started: dict[str, Sequence[tuple[Function, str | None]]] = {}
        self._shaped: dict[str, Sequence[Shape]] = {}

    def started_by(self, event_name: str) -> Sequence[tuple[Function, str | None]]:
        """Functions that an event of this name may start, each with its condition."""
        found = self._started.get(event_name)
        if found is None:
            if len(self._started) >= REMEMBERED_MAX:
                self._started.clear()
            found = self._started[event_name] = [
                (function, trigger.condition)
                for function in self.functions.values()
                if not function.retired
                for trigger in function.config.triggers
                if matches_name(trigger.event, event_name)
            ]
        return found

    def shapes_of(self, event_name: str) -> Sequence[Shape]:
        found = self._shaped.get(event_name)
        if found is None:
            if len(self._shaped) >= REMEMBERED_MAX:
                self._shaped.clear()
            found = self._shaped[event_name] = [
                shape
                for shape in self.shapes
                if not shape.event or matches_name(shape.event, event_name)
            ]
        return found

    def new_shape(self, event: str, paths: tuple[str, ...]) -> str | None:
        """The event of the shape that a wait for this one lacks; None: it is found already."""
        is_pattern = event.endswith("*")
        names = 0
        for shape in self.shapes:
            if shape.paths == paths:
                if shape.event == event or not (shape.event or is_pattern):
                    return None
                names += not shape.event.endswith("*")
        return "" if names >= NAMES_MAX and not is_pattern else event
