"""Options that several commands have."""

from typing import Annotated

import typer

Store = Annotated[
    str | None,
    typer.Option(
        "--store",
        metavar="URL",
        help="Where errands is: sqlite:///relative.db or sqlite:////absolute.db. "
        "Default: ERRANDS_URL, else .errands/errands.db here.",
        show_default=False,
    ),
]
Json = Annotated[
    bool,
    typer.Option("--json", help="JSON, also on a terminal. Elsewhere it is JSON anyway."),
]
