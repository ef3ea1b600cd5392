"""The only built SQL: conditions of a list, from known columns; values are always parameters."""

from collections.abc import Sequence
from typing import Any

from errands.engine.config import Config
from errands.store.interface import RunFilter

STARTED = {"pending": "item.started_at IS NULL", "processing": "item.started_at IS NOT NULL"}
ENDED = {"completed": "done.status = 3", "failed": "status = 4", "cancelled": "status = 5"}


def run_filters(filter: RunFilter, config: Config) -> tuple[str, dict[str, Any]]:
    """The condition of `list_runs` and its parameters.

    Newest first, a list may stop as soon as it is full. So what is rare among all runs (not ended,
    failed, of one function, with one tag) is looked up by an index, or each page would be a walk
    through all of them.
    """
    parameters: dict[str, Any] = {"limit": filter.limit}
    functions: list[str] = []
    if filter.function is not None:
        for n, id in enumerate(_functions(filter.function, config)):
            functions.append(f":function_{n}")
            parameters[f"function_{n}"] = id
    if filter.tag is not None:
        parameters["tag"] = filter.tag
    if filter.before is not None:
        parameters["before"] = filter.before

    def of(run: str, function: str) -> list[str]:
        found: list[str] = []
        if filter.function is not None:
            found.append(_one_of(function, functions))
        if filter.tag is not None:
            found.append(f"{run} IN (SELECT run FROM label WHERE label = :tag)")
        if filter.before is not None:
            found.append(f"{run} < :before")
        return found

    if filter.status in STARTED:
        # Not those whose item is still to be made: in a moment they have one.
        inner = " AND ".join([STARTED[filter.status], *of("item.run", "item.function")])
        return (
            f"run.id IN (SELECT run FROM item WHERE {inner} ORDER BY run DESC LIMIT :limit)",
            parameters,
        )
    conditions = of("run.id", "run.function")
    if filter.status == "completed":
        conditions.append(ENDED[filter.status])
    elif filter.status is not None:
        # `status <> 3` is what the index of those that did not complete is made of.
        bad = f"status <> 3 AND {ENDED[filter.status]}"
        conditions.append(f"run.id IN (SELECT run FROM done WHERE {bad})")
    return " AND ".join(conditions) or "1 = 1", parameters


def _functions(name: str, config: Config) -> Sequence[int]:
    """Those that are called so: `function` in any app, or `app/function`."""
    return [
        f.id
        for f in config.functions.values()
        if name in (f.config.slug, f"{f.app}/{f.config.slug}")
    ]


def _one_of(column: str, names: Sequence[str]) -> str:
    if not names:
        return "1 = 0"
    # An equation keeps the order of the index; IN, for slugs that several apps have, costs a sort.
    return f"{column} = {names[0]}" if len(names) == 1 else f"{column} IN ({', '.join(names)})"
