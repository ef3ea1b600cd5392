"""Brings a schema up to date; however many processes come at once, one of them does it."""

import secrets
from typing import Any

import psycopg

from errands.model.errors import MigrationNeeded, StoreError
from errands.store import migrate
from errands.store.postgres.queries import PACKAGE, quoted

LEDGER = (
    "CREATE TABLE IF NOT EXISTS {s}migration("
    "number integer PRIMARY KEY, name text, checksum text, at timestamptz DEFAULT now())"
)


class Migrator:
    """shown: the store's address, for messages. class_id: of its advisory locks."""

    def __init__(self, db: psycopg.Connection[Any], schema: str, shown: str, class_id: int) -> None:
        self._db, self._schema, self._shown = db, schema, shown
        self._prefix = quoted(schema) + "."
        self._class_id = class_id

    def check(self) -> None:
        """Raises MigrationNeeded, StoreError."""
        if left := self._left():
            names = ", ".join(m.name for m in left)
            raise MigrationNeeded(
                f"{self._where()} lacks {names}.", hint="Run `errands migrate` once."
            )

    def apply_all(self) -> None:
        """Raises StoreError."""
        if self._has_ledger() and not self._left():
            return  # no lock: who only opens must not wait for anybody
        self._execute("SELECT pg_advisory_lock($1::int, -1)", self._class_id)
        try:
            self._begin_ledger()
            for migration in self._left():
                self._apply(migration)
        finally:
            self._execute("SELECT pg_advisory_unlock($1::int, -1)", self._class_id)

    def _where(self) -> str:
        return f"Schema {self._schema} of {self._shown}"

    def _execute(self, text: str, *parameters: Any) -> psycopg.Cursor[Any]:
        return self._db.execute(text.replace("{s}", self._prefix).encode(), parameters)

    def _has_ledger(self) -> bool:
        asked = "SELECT 1 FROM pg_tables WHERE schemaname = $1 AND tablename = 'migration'"
        return self._execute(asked, self._schema).fetchone() is not None

    def _begin_ledger(self) -> None:
        if self._has_ledger():
            return
        try:
            asked = "SELECT 1 FROM pg_namespace WHERE nspname = $1"
            if self._execute(asked, self._schema).fetchone() is None:
                self._execute(f"CREATE SCHEMA {quoted(self._schema)}")
            self._execute(LEDGER)
        except psycopg.errors.InsufficientPrivilege as error:
            raise StoreError(
                f"{self._where()} cannot be made: {error.diag.message_primary}.",
                hint="Let its owner run `errands migrate`, or make the schema and grant USAGE and "
                "CREATE on it.",
            ) from error

    def _left(self) -> list[migrate.Migration]:
        applied: dict[int, str] = {}
        if self._has_ledger():
            rows = self._execute("SELECT number, checksum FROM {s}migration ORDER BY number")
            applied = dict(rows.fetchall())
        try:
            return migrate.pending(migrate.migrations_of(PACKAGE), applied)
        except ValueError as error:
            raise StoreError(
                f"{self._where()}: {error}.",
                hint="Use the version of errands that wrote it, or a newer one.",
            ) from error

    def _apply(self, migration: migrate.Migration) -> None:
        """With its mark in the ledger, or not at all."""
        try:
            with self._db.transaction():
                # Without parameters, several statements go as one.
                with psycopg.ClientCursor(self._db) as cursor:
                    cursor.execute(migration.sql.replace("{s}", self._prefix).encode())
                if migration.number == 1:
                    self._execute(
                        "INSERT INTO {s}meta(name, secret) VALUES ('key', $1)",
                        secrets.token_bytes(32),
                    )
                self._execute(
                    "INSERT INTO {s}migration(number, name, checksum) VALUES ($1, $2, $3)",
                    migration.number,
                    migration.name,
                    migration.checksum,
                )
        except psycopg.Error as error:
            raise StoreError(
                f"{self._where()}: {migration.name} cannot be applied: "
                f"{error.diag.message_primary or error}.",
                hint="If a table exists already, it is somebody else's: give errands a schema of "
                "its own, with ?schema=… in the URL or ERRANDS_SCHEMA.",
            ) from error
