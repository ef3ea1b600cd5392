"""Which App `errands dev` is about, where nobody says: the files are read for it, not imported."""

import ast
from pathlib import Path

from errands.model.errors import InvalidConfig
from errands.settings import find_file

FIRST = ("errands_app", "app", "main")
"""Modules that win over others which have an App too; the first is what `errands init` writes."""


def find_target(folder: Path) -> str | None:
    """module:attribute, by `app` in errands.toml or [tool.errands], else from the files of this
    folder; None if there is no App. Raises InvalidConfig if it could be one of several.
    """
    file = find_file(folder)
    if file is not None and file.app is not None:
        return file.app
    found: dict[str, list[str]] = {}
    for path in sorted(folder.glob("*.py")):
        if path.stem.isidentifier() and (names := _apps_in(path)):
            found[path.stem] = names
    for module in FIRST:
        if module in found:
            found = {module: found[module]}
    targets = [f"{module}:{name}" for module, names in found.items() for name in names]
    if len(targets) > 1:
        raise InvalidConfig(
            f"Which App? There are {', '.join(targets)}.", hint=f"Say it: errands dev {targets[0]}"
        )
    return targets[0] if targets else None


def _apps_in(path: Path) -> list[str]:
    """Names that the module gives to an `App(…)` of errands, at its top level."""
    try:
        tree = ast.parse(path.read_bytes())
    except (OSError, SyntaxError, ValueError):
        return []
    makers = _names_of_app(tree)
    found: list[str] = []
    for node in tree.body:
        match node:
            case ast.Assign(targets=[ast.Name(id=name)], value=ast.Call(func=function)):
                pass
            case ast.AnnAssign(target=ast.Name(id=name), value=ast.Call(func=function)):
                pass
            case _:
                continue
        if ast.unparse(function) in makers:
            found.append(name)
    return found


def _names_of_app(tree: ast.Module) -> set[str]:
    """How the module calls errands.App."""
    names: set[str] = set()
    for node in tree.body:
        match node:
            case ast.ImportFrom(module="errands", names=imported):
                names |= {one.asname or one.name for one in imported if one.name == "App"}
            case ast.Import(names=imported):
                names |= {
                    f"{one.asname or one.name}.App" for one in imported if one.name == "errands"
                }
            case _:
                continue
    return names
