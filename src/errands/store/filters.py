"""The only built SQL: conditions of a list, from known columns; values are always parameters."""

from typing import Any

from errands.store.interface import RunFilter

STATUS = {
    "pending": "done.run IS NULL AND item.started_at IS NULL",
    "processing": "done.run IS NULL AND item.started_at IS NOT NULL",
    "completed": "done.status = 3",
    "failed": "done.status = 4",
    "cancelled": "done.status = 5",
}


def run_filters(filter: RunFilter) -> tuple[str, dict[str, Any]]:
    """The condition of `list_runs` and its parameters."""
    conditions, parameters = ["1"], dict[str, Any](limit=filter.limit)
    if filter.function is not None:
        conditions.append("run.function IN (SELECT id FROM function WHERE slug = :function)")
        parameters["function"] = filter.function
    if filter.status is not None:
        conditions.append(STATUS[filter.status])
    if filter.tag is not None:
        conditions.append("run.id IN (SELECT run FROM label WHERE label = :tag)")
        parameters["tag"] = filter.tag
    if filter.before is not None:
        conditions.append("run.id < :before")
        parameters["before"] = filter.before
    return " AND ".join(conditions), parameters
