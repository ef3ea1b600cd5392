"""`errands serve`: the server, for production."""

from typing import Annotated

import typer

from errands.cli.options import Store


def serve(
    store: Store = None,
    host: Annotated[
        str, typer.Option(metavar="ADDRESS", help="Where to listen; 0.0.0.0: everywhere.")
    ] = "127.0.0.1",
    port: Annotated[
        int, typer.Option(min=0, max=65535, metavar="N", help="0: any that is free.")
    ] = 8288,
) -> None:
    """The server, for production.

    The HTTP API over a store, until SIGTERM or Ctrl-C. It needs ERRANDS_EVENT_KEY,
    ERRANDS_SIGNING_KEY and ERRANDS_API_TOKEN (`errands keys new`). It executes nothing: run
    `errands worker` beside it.
    """
    from errands.server import run_server
    from errands.worker import leave

    leave(run_server(store=store, host=host, port=port))
