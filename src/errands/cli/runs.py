"""`errands runs`: see runs, and end them."""

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from errands.cli.options import Json, Store

if TYPE_CHECKING:
    from errands.model.ids import RunId
    from errands.store.interface import Reader, RunRow

runs = typer.Typer(name="runs", help="See runs, and end them.")
RunIdArgument = Annotated[str, typer.Argument(metavar="ID", help="The run's id, as lists show it.")]


class Status(StrEnum):
    PENDING = "pending"
    PROCESSING = "processing"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"


@runs.callback(invoke_without_command=True)
def help_if_alone(context: typer.Context) -> None:
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


@runs.command("list")
def list_runs(
    status: Annotated[Status | None, typer.Option(help="Only these.", show_default=False)] = None,
    function: Annotated[
        str | None,
        typer.Option(metavar="NAME", help='Only of this one: "add" or "shop/add".'),
    ] = None,
    tag: Annotated[
        str | None, typer.Option(metavar="KEY=VALUE", help="Only with this tag.")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, max=1000, metavar="N", help="At most so many.")] = 50,
    before: Annotated[
        str | None, typer.Option(metavar="ID", help="The next page: runs older than this one.")
    ] = None,
    store: Store = None,
    json: Json = False,
) -> None:
    """Runs, the newest first."""
    from errands.cli import run_table
    from errands.cli.connection import reading
    from errands.cli.describe import describe
    from errands.cli.output import is_for_people, print_json
    from errands.store.interface import RunFilter

    with reading(store) as reader:
        if tag is not None:
            _check_tag(tag)
        if function is not None:
            _check_function(function, reader)
        older_than = None if before is None else _parse(before, reader)
        asked = RunFilter(function, status and status.value, tag, older_than, limit)
        found = [describe(row, reader) for row in reader.runs(asked)]
    if is_for_people(json):
        run_table.print_list(found, limit)
    else:
        print_json(found)


@runs.command()
def show(
    id: RunIdArgument,
    logs: Annotated[bool, typer.Option("--logs", help="With what the run has logged.")] = False,
    store: Store = None,
    json: Json = False,
) -> None:
    """All that is known of one run: input, steps, history, outcome."""
    from errands.cli import run_table
    from errands.cli.connection import reading
    from errands.cli.describe import describe_fully
    from errands.cli.output import is_for_people, print_json

    with reading(store) as reader:
        found = describe_fully(_find(id, reader), reader, with_logs=logs)
    if is_for_people(json):
        run_table.print_run(found)
    else:
        print_json(found)


@runs.command()
def cancel(
    id: RunIdArgument,
    reason: Annotated[
        str | None, typer.Option(metavar="TEXT", help="Kept with the run.", show_default=False)
    ] = None,
    store: Store = None,
    json: Json = False,
) -> None:
    """End a run as cancelled. What it has done stays done; a run that is over stays as it is."""
    from errands.cli.connection import deciding, reading
    from errands.cli.describe import describe
    from errands.cli.output import is_for_people, print_json
    from errands.sdk.sync import sync

    with reading(store) as reader:
        before = _find(id, reader)
    if before.ended_at is None:

        async def ask() -> None:
            await backend.connect()
            await backend.cancel(id, reason)

        with deciding(store) as backend:
            # Not in an event loop, which would not let Ctrl-C through while a lock is waited for.
            sync(ask())
    with reading(store) as reader:
        found = describe(_find(id, reader), reader)
    if not is_for_people(json):
        print_json(found)
    elif before.ended_at is None and found["cancelled"] is not None:
        typer.echo(f"Run {id} is cancelled.")
    else:
        word = "cancelled" if found["cancelled"] is not None else found["status"]
        typer.echo(f"Run {id} was over already: {word}. Nothing is changed.")


def _parse(id: str, reader: "Reader") -> "RunId":
    from errands.model.errors import InvalidConfig
    from errands.model.ids import RunId, parse_id

    number = parse_id(id, reader.key())
    if number is None:
        raise InvalidConfig(
            f"{id!r} is no id of this store.", hint="`errands runs list` shows the ids."
        )
    return RunId(number)


def _find(id: str, reader: "Reader") -> "RunRow":
    from errands.model.errors import ErrandsError

    row = reader.run(_parse(id, reader))
    if row is None:
        raise ErrandsError(
            f"There is no run {id} any more.",
            hint="Runs that are over are kept for ERRANDS_KEEP_RUNS, 7 days by default.",
        )
    return row


def _check_tag(tag: str) -> None:
    from errands.model.errors import InvalidConfig

    name, is_there, _ = tag.partition("=")
    if not (name and is_there):
        raise InvalidConfig(f"--tag: {tag!r} is no KEY=VALUE.", hint="For example --tag tenant=t1.")


def _check_function(name: str, reader: "Reader") -> None:
    from errands.model.errors import InvalidConfig

    known = sorted(
        f"{function.app}/{function.config.slug}" for function in reader.config().functions.values()
    )
    if not any(name in (one, one.partition("/")[2]) for one in known):
        raise InvalidConfig(
            f"--function: there is no function {name!r} in this store.",
            hint=f"There are {', '.join(known)}."
            if known
            else "There is none at all yet: a worker, or whoever sends first, registers them.",
        )
