"""What is registered: functions, and the shapes by which waits are looked up. Replaced whole, never
changed.
"""

from collections.abc import Iterable, Sequence

from errands.engine.match import matches_name
from errands.model.function import Function
from errands.model.ids import FunctionId
from errands.model.step import Shape


class Config:
    """One version of it, with indexes. Safe to share between threads."""

    def __init__(
        self, version: int, functions: Iterable[Function] = (), shapes: Iterable[Shape] = ()
    ) -> None:
        self.version = version
        self.functions: dict[FunctionId, Function] = {f.id: f for f in functions}
        self.by_slug = {(f.app, f.config.slug): f for f in self.functions.values()}
        self.shapes = tuple(shapes)
        self._started: dict[str, Sequence[tuple[Function, str | None]]] = {}
        self._shaped: dict[str, Sequence[Shape]] = {}

    def started_by(self, event_name: str) -> Sequence[tuple[Function, str | None]]:
        """Functions that an event of this name may start, each with its condition."""
        found = self._started.get(event_name)
        if found is None:
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
            found = self._shaped[event_name] = [
                shape for shape in self.shapes if matches_name(shape.event, event_name)
            ]
        return found

    def has_shape(self, event: str, paths: tuple[str, ...]) -> bool:
        return any(s.event == event and s.paths == paths for s in self.shapes)
