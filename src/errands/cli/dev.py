"""`errands dev`: server and worker in one terminal."""

from typing import Annotated

import typer


def dev(
    target: Annotated[
        str | None,
        typer.Argument(
            metavar="[MODULE:APP]",
            help='Where the App is: "shop:app" for `app` in shop.py. Default: `app` in '
            "errands.toml or [tool.errands], else the App that is found in this folder.",
            show_default=False,
        ),
    ] = None,
    host: Annotated[str, typer.Option(metavar="ADDRESS", help="Where to listen.")] = "127.0.0.1",
    port: Annotated[
        int, typer.Option(min=0, max=65535, metavar="N", help="0: any that is free.")
    ] = 8288,
    db: Annotated[
        str | None,
        typer.Option(
            metavar="PATH",
            help="The store's file. Default: ERRANDS_URL, else .errands/errands.db here.",
            show_default=False,
        ),
    ] = None,
    no_reload: Annotated[
        bool, typer.Option("--no-reload", help="Do not start anew when a source file changes.")
    ] = False,
    open_to_network: Annotated[
        bool,
        typer.Option(
            "--open-to-network",
            help="Allow a --host that other machines reach. There are no keys: whoever comes may "
            "do everything.",
        ),
    ] = False,
) -> None:
    """Server and worker in one terminal, for development.

    No keys, and for this machine only. It starts anew when a Python file in this folder changes,
    and tells each run that ends.
    """
    from pathlib import Path

    from errands.dev.find import find_target
    from errands.dev.options import DevOptions
    from errands.listening import is_loopback
    from errands.model.errors import InvalidConfig
    from errands.settings import settings_here, without_secrets

    is_open = not is_loopback(host)
    if is_open and not open_to_network:
        raise InvalidConfig(
            f"Other machines can reach {host}, and a development server has no keys.",
            hint="Use `errands serve`, or, if you trust all of them, add --open-to-network.",
        )
    options = DevOptions(
        target or find_target(Path.cwd()),
        None if db is None else f"sqlite:///{db}",
        without_secrets(settings_here()),
        host,
        port,
        is_open,
    )
    if no_reload:
        from errands.dev.server import run_here
        from errands.worker import leave

        leave(run_here(options))
    from errands.dev.supervisor import supervise

    raise typer.Exit(supervise(options))
