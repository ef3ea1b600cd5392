"""Options that several commands have."""

from enum import StrEnum
from typing import Annotated

import typer

from errands.cli.completing import run_ids


class RunStatus(StrEnum):
    PENDING = "pending"
    PROCESSING = "processing"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"


Store = Annotated[
    str | None,
    typer.Option(
        "--store",
        metavar="URL",
        help="Where the store is: sqlite:///relative.db or sqlite:////absolute.db. "
        "Default: ERRANDS_URL, else .errands/errands.db here.",
        show_default=False,
    ),
]
Url = Annotated[
    str | None,
    typer.Option(
        "--store",
        "--url",
        metavar="URL",
        help="Where errands is: a store (sqlite:///errands.db) or a server (http://host:8288). "
        "Default: ERRANDS_URL, else .errands/errands.db here.",
        show_default=False,
    ),
]
Json = Annotated[
    bool,
    typer.Option("--json", help="JSON, also on a terminal. Elsewhere it is JSON anyway."),
]
RunId = Annotated[
    str,
    typer.Argument(metavar="ID", help="The run's id, as lists show it.", autocompletion=run_ids),
]
Status = Annotated[RunStatus | None, typer.Option(help="Only these.", show_default=False)]
Limit = Annotated[int, typer.Option(min=1, max=1000, metavar="N", help="At most so many.")]
Reason = Annotated[
    str | None, typer.Option(metavar="TEXT", help="Kept with the run.", show_default=False)
]
