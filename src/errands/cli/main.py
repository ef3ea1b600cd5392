"""The `errands` command.

Results on stdout: for people on a terminal, JSON elsewhere. Errors on stderr, in one form, with the
exit code 2 for what was asked wrongly, 1 for what failed, 130 for Ctrl-C.
"""

import os
import sys
from typing import Annotated

import typer

from errands.cli.lazy import Command, Group, LazyGroup

BAD_INPUT, FAILED, INTERRUPTED = 2, 1, 130
COMMANDS: dict[str, Command | Group] = {
    "init": Command("errands.cli.init:init", "Write a small working app here."),
    "dev": Command("errands.cli.dev:dev", "Server and worker in one terminal, for development."),
    "demo": Command("errands.cli.demo:demo", "See it work, in some seconds."),
    "send": Command("errands.cli.send:send", "Send an event, and follow the runs it starts."),
    "runs": Command("errands.cli.runs:runs", "See runs, follow, cancel and repeat them."),
    "jobs": Command("errands.cli.jobs:jobs", "Jobs as their owners see them; external ones too."),
    "functions": Command("errands.cli.functions:functions", "See what is registered."),
    "events": Command("errands.cli.events:events", "See what was sent, and what it started."),
    "serve": Command("errands.cli.serve:serve", "The server, for production."),
    "worker": Command("errands.cli.worker:worker", "Execute the functions and jobs of an App."),
    "migrate": Command("errands.cli.migrate:migrate", "Make the store, or bring it up to date."),
    "doctor": Command("errands.cli.doctor:doctor", "Find what is wrong, and say what to do."),
    "keys": Command("errands.cli.keys:keys", "Make the keys of a server."),
    "config": Group(
        "See the settings.",
        {"show": Command("errands.cli.config:config_show", "Each value, and where it is from.")},
    ),
}
"""In the order of a user's first day."""


class Commands(LazyGroup):
    table = COMMANDS


# Plain help: it comes in a tenth of the time that a decorated one takes.
app = typer.Typer(
    name="errands",
    cls=Commands,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _show_version(is_asked: bool) -> None:
    if is_asked:
        from importlib.metadata import version

        typer.echo(f"errands {version('errands')}")
        raise typer.Exit


@app.callback(invoke_without_command=True)
def errands(
    context: typer.Context,
    version: Annotated[
        bool,
        typer.Option(
            "--version",
            help="The version, and nothing else.",
            callback=_show_version,
            is_eager=True,
        ),
    ] = False,
) -> None:
    """Durable background jobs for Python."""
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


def main() -> None:
    """Run the command of `sys.argv`, and end the process."""
    sys.exit(run(sys.argv[1:]))


def run(arguments: list[str]) -> int:
    """The command's exit code; what went wrong is told on stderr."""
    try:
        code = app(arguments, prog_name="errands", standalone_mode=False)
        sys.stdout.flush()
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        # Whoever read our output has seen enough, as `head` does.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
    except Exception as error:
        if os.environ.get("ERRANDS_DEBUG"):
            raise
        return _tell(error)
    return code if isinstance(code, int) else 0


def _tell(error: Exception) -> int:
    from errands.cli.output import printable

    # By shape: which classes typer raises differs between its versions.
    usage = getattr(error, "format_message", None)
    if usage is not None:
        # What checks the values adds words of its own.
        what = printable(usage()).replace(": Value error, ", ": ").rstrip(".")
        command = getattr(getattr(error, "ctx", None), "command_path", "errands")
        end = "" if what.endswith("?") else "."
        print(f"Error: {what}{end} `{command} --help` lists what there is.", file=sys.stderr)
        return BAD_INPUT
    if type(error).__name__ == "Abort":
        return INTERRUPTED

    from errands.model.errors import ErrandsError, InvalidConfig

    if isinstance(error, ErrandsError):
        print(f"Error: {printable(str(error))}", file=sys.stderr)
        return BAD_INPUT if isinstance(error, InvalidConfig) else FAILED
    what = printable(f"{type(error).__name__}: {error}")
    print(f"Error: {what}. ERRANDS_DEBUG=1 shows where.", file=sys.stderr)
    return FAILED


if __name__ == "__main__":
    main()
