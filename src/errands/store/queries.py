"""SQL in files: `-- name: block`, one file a noun."""

import re
from functools import cache
from importlib.resources import files

_BLOCK = re.compile(r"^-- name: (\w+)\n(.*?)(?=^-- name: |\Z)", re.MULTILINE | re.DOTALL)
_ROW = re.compile(r"VALUES (\((?:\?, )*\?\))")


class Queries:
    """A dialect's statements by name."""

    def __init__(self, package: str) -> None:
        self._texts: dict[str, str] = {}
        for file in sorted(files(package).joinpath("queries").iterdir(), key=lambda f: f.name):
            if file.name.endswith(".sql"):
                for name, text in _BLOCK.findall(file.read_text()):
                    assert name not in self._texts, f"two statements are called {name}"
                    self._texts[name] = text.strip().rstrip(";")

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self._texts)

    def __getitem__(self, name: str) -> str:
        return self._texts[name]

    @cache  # noqa: B019 - one instance a dialect, for the life of the process
    def rows(self, name: str, count: int) -> str:
        """The statement for `count` rows: its one-row VALUES repeated."""
        text = self._texts[name]
        found = _ROW.search(text)
        assert found, f"{name} has no row to repeat"
        return text[: found.start(1)] + ", ".join([found[1]] * count) + text[found.end(1) :]
