"""Columns of many rows as PostgreSQL's binary arrays: one statement takes all rows of a kind.

Made by hand because it is the innermost loop of every batch; the driver asks for each value again
what it is.
"""

import struct
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

from psycopg import Connection
from psycopg.abc import Buffer
from psycopg.adapt import Dumper
from psycopg.pq import Format
from psycopg.types.numeric import Int8BinaryDumper

_header = struct.Struct(">iiIii").pack
_length = struct.Struct(">i").pack
_NULL = _length(-1)
_pair = struct.Struct(">iq").pack
_float = struct.Struct(">id").pack


class Array:
    """An array of one dimension, encoded. Its class says of what."""

    __slots__ = ("data",)
    element: ClassVar[int] = 0
    """Of its elements, PostgreSQL's number of the type."""

    def __init__(self, data: bytes) -> None:
        self.data = data


class Int8s(Array):
    element = 20


class Texts(Array):
    element = 25


class Byteas(Array):
    element = 17


class Floats(Array):
    element = 701


def ints(values: Sequence[int | None]) -> Int8s:
    """Raises struct.error for what has no 64 bits."""
    count = len(values)
    if None in values:
        parts = [_NULL if value is None else _pair(8, value) for value in values]
        return Int8s(_header(1, 1, Int8s.element, count, 1) + b"".join(parts))
    flat: list[Any] = [8] * (2 * count)
    flat[1::2] = values
    return Int8s(_header(1, 0, Int8s.element, count, 1) + struct.pack(">" + "iq" * count, *flat))


def texts(values: Sequence[str | None]) -> Texts:
    """Raises UnicodeEncodeError for half of a surrogate pair."""
    encoded = [None if value is None else value.encode() for value in values]
    return Texts(_strings(Texts.element, encoded))


def byteas(values: Sequence[bytes | None]) -> Byteas:
    return Byteas(_strings(Byteas.element, values))


def floats(values: Sequence[float | None]) -> Floats:
    parts = [_NULL if value is None else _float(8, value) for value in values]
    return Floats(_header(1, 1, Floats.element, len(values), 1) + b"".join(parts))


def _strings(element: int, values: Sequence[bytes | None]) -> bytes:
    parts = [_header(1, 1, element, len(values), 1)]
    for value in values:
        if value is None:
            parts.append(_NULL)
        else:
            parts += (_length(len(value)), value)
    return b"".join(parts)


MAKERS: dict[str, Callable[[Any], Array]] = {"i": ints, "t": texts, "b": byteas, "f": floats}
TYPES = {"i": "bigint", "t": "text", "b": "bytea", "f": "double precision"}


def columns(kinds: str, values: Sequence[Sequence[Any]]) -> list[Array]:
    """Rows, turned into one array a column. kinds: a letter of MAKERS for each."""
    return [
        MAKERS[kind](column) for kind, column in zip(kinds, zip(*values, strict=True), strict=True)
    ]


class _Dumper(Dumper):
    format = Format.BINARY

    def dump(self, obj: Array) -> Buffer | None:
        return obj.data


class _Int8s(_Dumper):
    oid = 1016


class _Texts(_Dumper):
    oid = 1009


class _Byteas(_Dumper):
    oid = 1001


class _Floats(_Dumper):
    oid = 1022


def adapt(db: Connection[Any]) -> None:
    """Let this connection take arrays; and every integer as one of 64 bits, whatever its size: else
    each size would be another prepared statement.
    """
    for kind, dumper in ((Int8s, _Int8s), (Texts, _Texts), (Byteas, _Byteas), (Floats, _Floats)):
        db.adapters.register_dumper(kind, dumper)
    db.adapters.register_dumper(int, Int8BinaryDumper)
