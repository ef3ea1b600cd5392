"""Statements of a batch: sent without waiting for the answer to the one before."""

import select
from collections.abc import Callable, Sequence
from itertools import chain
from typing import Any

import psycopg

from errands.store import rows
from errands.store.postgres.arrays import columns, ints
from errands.store.postgres.queries import Statements

Cursor = psycopg.Cursor[Any]


class Asker:
    """A connection in pipeline mode, and its statements by name."""

    def __init__(
        self, db: psycopg.Connection[Any], pipeline: psycopg.Pipeline, statements: Statements
    ) -> None:
        self.db, self.pipeline, self.statements = db, pipeline, statements

    def ask(self, name: str, *parameters: Any) -> Cursor:
        """Its rows are to be had by `answer`."""
        return self.db.execute(self.statements[name], parameters, binary=True)

    def all(self, name: str, *parameters: Any) -> list[rows.Row]:
        return self.answer(self.ask(name, *parameters))

    def answer(self, cursor: Cursor) -> list[rows.Row]:
        """Wait for them. In the server's eyes the transaction is idle after this: should this
        process stand still here, its session is ended, and with it its locks.
        """
        if cursor.pgresult is None:
            self.sync()
        return cursor.fetchall()

    def among(self, name: str, ids: Sequence[int]) -> Cursor:
        """A statement about any of these."""
        return self.db.execute(self.statements[name], (ints(ids),), binary=True)

    def many(self, name: str, values: Sequence[rows.Row], *others: Any) -> Cursor:
        """One statement for many rows."""
        arrays = columns(self.statements.kinds[name], values)
        return self.db.execute(self.statements[name], tuple(chain(arrays, others)), binary=True)

    def put(self, name: str, values: Sequence[Any], row: Callable[[Any], rows.Row] = tuple) -> None:
        if values:
            self.many(name, [row(value) for value in values])

    def count(self, cursor: Cursor) -> int:
        """How many rows a statement has changed."""
        self.sync()
        return cursor.rowcount

    def sync(self) -> None:
        """Wait until all that was sent is done. Raises what has gone wrong with it."""
        # The driver would wait for answers to what it still holds in its own buffer, where that is
        # more than the socket takes at once: for ever.
        while self.db.pgconn.flush():
            select.select([], [self.db.fileno()], [])
        self.pipeline.sync()
