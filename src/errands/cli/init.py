"""`errands init`: a small working app, fitting what is in the folder."""

from enum import StrEnum
from typing import Annotated

import typer


class Framework(StrEnum):
    FASTAPI = "fastapi"
    DJANGO = "django"
    FLASK = "flask"
    PLAIN = "plain"


def init(
    file: Annotated[
        str, typer.Argument(metavar="[FILE]", help="Where to write it.")
    ] = "errands_app.py",
    framework: Annotated[
        Framework | None,
        typer.Option(help="What it shall fit. Default: what is found here.", show_default=False),
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Write over a file that is there.")
    ] = False,
) -> None:
    """Write a small working app here, fitting FastAPI, Django or Flask if one is used."""
    from pathlib import Path

    from errands.cli.starter import check_file, find_web, starter

    path = Path(file)
    check_file(path, force=force)
    web = find_web(path, None if framework is None else framework.value)
    path.write_text(starter(path, web), encoding="utf-8")
    typer.echo(f"{path} is written{web.told()}. Now, in two terminals:\n")
    typer.echo(f"  errands dev {path.stem}:app")
    typer.echo("  errands send hello name=Ada")
    if web.next_move(path.stem):
        typer.echo(f"\n{web.next_move(path.stem)}")
