"""The statements of `queries/`, for one schema."""

import re

from errands.store.postgres.arrays import TYPES
from errands.store.queries import Queries

PACKAGE = "errands.store.postgres"
_ROWS = re.compile(r"\{rows:([a-z]+)\}")
_COMMENT = re.compile(r"^\s*--.*\n", re.MULTILINE)


def quoted(name: str) -> str:
    """A name as SQL writes it."""
    return '"' + name.replace('"', '""') + '"'


class Statements:
    """`{s}` stands for the schema; `{rows:…}` for one array a column, a letter of `arrays` each."""

    def __init__(self, schema: str) -> None:
        self.prefix = quoted(schema) + "."
        self.kinds: dict[str, str] = {}
        """The columns of statements that take many rows."""
        self._texts: dict[str, bytes] = {}
        self._templates: dict[str, str] = {}
        queries = Queries(PACKAGE)
        for name in queries.names:
            self._add(name, queries[name])

    def _add(self, name: str, text: str) -> None:
        text = _COMMENT.sub("", text).replace("{s}", self.prefix)
        if found := _ROWS.search(text):
            self.kinds[name] = found[1]
            arrays = ", ".join(f"${n}::{TYPES[kind]}[]" for n, kind in enumerate(found[1], 1))
            text = text[: found.start()] + arrays + text[found.end() :]
        self._templates[name] = text
        self._texts[name] = text.encode()

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self._texts)

    def __getitem__(self, name: str) -> bytes:
        return self._texts[name]

    def template(self, name: str) -> str:
        """The text of a statement that has places left to fill in."""
        return self._templates[name]
