"""What `errands init` finds in a folder, and the file that fits it."""

import re
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path
from string import Template

import msgspec

from errands.model.errors import InvalidConfig

NAMES = ("fastapi", "django", "flask")
"""Frameworks, in the order in which they are looked for."""
APP_CLASSES = {"fastapi": "FastAPI", "flask": "Flask"}
MANIFESTS = ("requirements*.txt", "requirements/*.txt", "pyproject.toml", "Pipfile", "setup.cfg")
SKIPPED = {"site-packages", "node_modules", "venv", "env", "build", "dist", "__pycache__"}
FILES_MAX = 2_000
FILE_BYTES_MAX = 1_000_000


class Web(msgspec.Struct, frozen=True):
    """The web framework of a folder."""

    name: str = "plain"
    why: str = ""
    """What showed it."""
    file: str = ""
    """Where its app is made, or its URLs are; relative, or a word for it."""
    variable: str = "app"
    """What its app is called there."""
    settings: str = ""
    """Django's settings module."""

    def told(self) -> str:
        return f", for {self.name} ({self.why})" if self.why else ""

    def next_move(self, module: str) -> str:
        """How the web app comes to know it; empty if there is none."""
        match self.name:
            case "fastapi":
                use = f"{self.variable}.include_router(router)"
                return f"And in {self.file}: from {module} import router; {use}"
            case "flask":
                use = f"{self.variable}.register_blueprint(hello_pages)"
                return f"And in {self.file}: from {module} import hello_pages; {use}"
            case "django":
                return f'And in {self.file}: path("hello/<str:name>", hello), from {module}.'
            case _:
                return ""


def check_file(path: Path, *, force: bool) -> None:
    """Raises InvalidConfig."""
    if path.suffix != ".py" or not path.stem.isidentifier():
        raise InvalidConfig(
            f"{path} could not be imported.", hint="Name it like a module: errands_app.py."
        )
    if not path.absolute().parent.is_dir():
        raise InvalidConfig(f"There is no folder {path.parent}.", hint="Make it first.")
    if path.exists() and not force:
        raise InvalidConfig(
            f"{path} is there already, and is left as it is.",
            hint="Name another file, or write over it with --force.",
        )


def starter(path: Path, web: Web) -> str:
    """The text of the file."""
    text = files("errands.cli").joinpath("templates", f"{web.name}.py.txt").read_text("utf-8")
    return Template(text).substitute(
        module=path.stem,
        app=_app_name(path.absolute().parent.name),
        web=web.file,
        web_app=web.variable,
        settings=web.settings,
    )


def _app_name(folder: str) -> str:
    """The folder's name, as far as an app may be called so."""
    return re.sub(r"[^a-z0-9]+", "-", folder.lower()).strip("-")[:50] or "app"


def find_web(path: Path, wanted: str | None) -> Web:
    """What the folder of `path` uses, that file itself apart. wanted: the framework's name, if it
    is known.
    """
    folder = path.absolute().parent
    sources = {one: text for one, text in _sources(folder) if one.name != path.name}
    if wanted == "plain":
        return Web()
    for name in NAMES if wanted is None else (wanted,):
        imported = re.compile(rf"^\s*(?:from|import)\s+{name}\b", re.MULTILINE)
        users = [path for path, text in sources.items() if imported.search(text)]
        manifest = _manifest(folder, name)
        if wanted is None and not users and manifest is None:
            continue
        seen = users[0] if users else manifest
        why = f"--framework {name}" if wanted else f"seen in {seen}"
        return _django(sources, why) if name == "django" else _made(name, why, users, sources)
    return Web()


def _made(name: str, why: str, users: list[Path], sources: dict[Path, str]) -> Web:
    """Where the app of FastAPI or Flask is made."""
    made = re.compile(rf"(?m)^(\w+)\s*(?::\s*[\w.]+\s*)?=\s*(?:\w+\.)?{APP_CLASSES[name]}\(")
    for path in users:
        if found := made.search(sources[path]):
            return Web(name, why, str(path), found[1])
    return Web(name, why, "the module of your web app")


def _django(sources: dict[Path, str], why: str) -> Web:
    said = re.compile(r"DJANGO_SETTINGS_MODULE[\"'],\s*[\"']([\w.]+)[\"']")
    for path in sorted(sources, key=lambda path: path.name != "manage.py"):
        if found := said.search(sources[path]):
            package = found[1].partition(".")[0]
            return Web("django", why, f"{package}/urls.py", settings=found[1])
    return Web("django", why, "your urls.py", settings="mysite.settings")


def _sources(folder: Path) -> Iterator[tuple[Path, str]]:
    """Python files and their texts, those of the folder itself first."""
    found = sorted(_python_files(folder), key=lambda path: (len(path.parts), path))
    for path in found[:FILES_MAX]:
        if path.stat().st_size <= FILE_BYTES_MAX:
            yield path.relative_to(folder), path.read_text("utf-8", errors="replace")


def _python_files(folder: Path, depth: int = 4) -> Iterator[Path]:
    for path in folder.iterdir():
        if path.is_file() and path.suffix == ".py":
            yield path
        elif depth and path.is_dir() and _is_own(path):
            yield from _python_files(path, depth - 1)


def _is_own(folder: Path) -> bool:
    """Code of the project, and not what it has installed."""
    name = folder.name
    return not (
        name.startswith(".") or name in SKIPPED or folder.is_symlink()
        or (folder / "pyvenv.cfg").exists()
    )  # fmt: skip


def _manifest(folder: Path, name: str) -> Path | None:
    """The file that says that the project needs it."""
    needed = re.compile(rf"(?im)(?:^|[\"'\s]){name}(?:\[[\w,-]+\])?\s*(?:[\"'=<>~!;,\s]|$)")
    for pattern in MANIFESTS:
        for path in sorted(folder.glob(pattern)):
            if needed.search(path.read_text("utf-8", errors="replace")):
                return path.relative_to(folder)
    return None
