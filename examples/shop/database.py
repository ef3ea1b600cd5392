"""The shop's own SQL database: users and products. errands keeps its state elsewhere."""

import sqlite3
import time
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import astuple, dataclass

from errands import NonRetriableError
from examples.shop import catalogue, settings
from examples.shop.executions import record_execution

SCHEMA = """
CREATE TABLE IF NOT EXISTS users (
    id TEXT PRIMARY KEY, name TEXT NOT NULL, email TEXT NOT NULL UNIQUE, created_at REAL NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS products (
    row INTEGER PRIMARY KEY, sku TEXT NOT NULL UNIQUE, name TEXT NOT NULL,
    price_cents INTEGER NOT NULL, stock INTEGER NOT NULL
) STRICT;
CREATE INDEX IF NOT EXISTS products_by_name ON products (name);
CREATE INDEX IF NOT EXISTS products_by_price ON products (price_cents);
"""


@dataclass(frozen=True)
class User:
    id: str
    name: str
    email: str


def create() -> None:
    """Make the database and its tables, where they are missing."""
    settings.DATA.mkdir(parents=True, exist_ok=True)
    with _transaction() as db:
        db.execute("PRAGMA journal_mode = WAL")
        db.executescript(SCHEMA)


def add_user(id: str, name: str, email: str) -> User:
    with _transaction() as db:
        db.execute(
            "INSERT INTO users (id, name, email, created_at) VALUES (?, ?, ?, ?)",
            (id, name, email, time.time()),
        )
    return User(id, name, email)


def find_user(user_id: str) -> User:
    record_execution()
    with _transaction() as db:
        row = db.execute("SELECT id, name, email FROM users WHERE id = ?", (user_id,)).fetchone()
    if row is None:
        raise NonRetriableError(f"No user {user_id}.")
    return User(*row)


def import_chunk(path: str, chunk: catalogue.Chunk) -> int:
    """Insert the chunk's rows; gives their number.

    All in one transaction, and harmless when repeated: if the process dies after this commit and
    before errands has kept the step's result, the step executes again, and finds its rows there.
    """
    record_execution()
    products = [astuple(product) for product in catalogue.read(path, chunk)]
    with _transaction() as db:
        db.executemany(
            "INSERT OR IGNORE INTO products (row, sku, name, price_cents, stock)"
            " VALUES (?, ?, ?, ?, ?)",
            products,
        )
    return len(products)


def count_products() -> tuple[int, int]:
    """How many rows there are, and the sum of their prices in cents."""
    with _transaction() as db:
        rows, cents = db.execute(
            "SELECT count(*), coalesce(sum(price_cents), 0) FROM products"
        ).fetchone()
    return rows, cents


@contextmanager
def _transaction() -> Generator[sqlite3.Connection, None, None]:
    db = sqlite3.connect(settings.DATA / "shop.db", timeout=30)
    try:
        with db:
            yield db
    finally:
        db.close()
