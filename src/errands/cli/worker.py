"""`errands worker`: execute an App's functions and jobs."""

from typing import Annotated

import typer

from errands.cli.options import Store


def worker(
    target: Annotated[
        str,
        typer.Argument(
            metavar="MODULE:APP", help='Where the App is: "shop:app" for `app` in shop.py.'
        ),
    ],
    store: Store = None,
    processes: Annotated[
        int, typer.Option(metavar="N", help="Worker processes. On SQLite one is the fastest.")
    ] = 1,
    concurrency: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            help="Runs executed at once, by each process. Default: ERRANDS_CONCURRENCY, else 100.",
            show_default=False,
        ),
    ] = None,
    grace: Annotated[
        str | None,
        typer.Option(
            metavar="DURATION",
            help='How long executing runs may go on after SIGTERM: "20s", "5m". '
            "Default: ERRANDS_GRACE, else 20s.",
            show_default=False,
        ),
    ] = None,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="A line for each run.")] = False,
) -> None:
    """Execute the functions and jobs of an App, until SIGTERM or Ctrl-C.

    It then claims nothing new, lets what executes finish for the grace, gives the rest back, and
    ends with 0. A second signal ends the grace.
    """
    from errands.worker import leave, run_worker

    leave(
        run_worker(
            target,
            store=store,
            processes=processes,
            concurrency=concurrency,
            grace=grace,
            is_verbose=verbose,
        )
    )
