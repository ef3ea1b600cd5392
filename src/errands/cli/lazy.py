"""A group of commands whose modules are imported when they are named, and not to list them."""

from collections.abc import Iterator, Mapping, MutableMapping
from importlib import import_module
from typing import Any, ClassVar, NamedTuple

import typer
import typer.core
import typer.main


class Command(NamedTuple):
    """What the group's help has to know of a command before its module is there."""

    target: str
    """module:attribute of a function, or of a Typer that is a group."""
    help: str
    """The first sentence of its docstring."""


class Group(NamedTuple):
    """A group that has no module of its own."""

    help: str
    commands: Mapping[str, Command]


Table = Mapping[str, Command | Group]


class LazyGroup(typer.core.TyperGroup):
    """Its commands are those of `table`."""

    table: ClassVar[Table] = {}

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        self.commands = Loaded(self.table)

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, entry.help) for name, entry in self.table.items()])


class Loaded(MutableMapping[str, Any]):
    """Each command as typer has it, made when it is asked for."""

    def __init__(self, table: Table) -> None:
        self._table, self._made = table, dict[str, Any]()

    def __getitem__(self, name: str) -> Any:
        if name not in self._made:
            self._made[name] = _make(name, self._table[name])
        return self._made[name]

    def __setitem__(self, name: str, command: Any) -> None:
        self._made[name] = command

    def __delitem__(self, name: str) -> None:
        del self._made[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._table)

    def __len__(self) -> int:
        return len(self._table)

    def __contains__(self, name: object) -> bool:
        return name in self._table


def make_group(name: str, help: str) -> typer.Typer:
    """A Typer that gives its help when no command of it is named."""
    group = typer.Typer(name=name, help=help, rich_markup_mode=None, add_completion=False)

    @group.callback(invoke_without_command=True)
    def help_if_alone(context: typer.Context) -> None:  # pyright: ignore[reportUnusedFunction]
        if context.invoked_subcommand is None:
            typer.echo(context.get_help())

    return group


def _make(name: str, entry: Command | Group) -> Any:
    holder = make_group("holder", "")
    if isinstance(entry, Group):
        group = make_group(name, entry.help)
        for one, command in entry.commands.items():
            group.command(one)(_load(command.target))
        holder.add_typer(group, name=name)
    else:
        found = _load(entry.target)
        if isinstance(found, typer.Typer):
            holder.add_typer(found, name=name)
        else:
            holder.command(name)(found)
    made: Any = typer.main.get_command(holder)
    return made.commands[name]


def _load(target: str) -> Any:
    module, _, attribute = target.partition(":")
    return getattr(import_module(module), attribute)
