"""The shop's own SQL database: users, orders, products. errands keeps its state elsewhere."""

import json
import sqlite3
import time
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, astuple, dataclass
from datetime import UTC, datetime
from uuid import uuid4

from errands import NonRetriableError
from examples.shop import catalogue, settings
from examples.shop.executions import record_execution

SCHEMA = """
CREATE TABLE IF NOT EXISTS users (
    id TEXT PRIMARY KEY, name TEXT NOT NULL, email TEXT NOT NULL UNIQUE, created_at REAL NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS orders (
    id TEXT PRIMARY KEY, email TEXT NOT NULL, lines TEXT NOT NULL, created_at REAL NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS payments (
    order_id TEXT PRIMARY KEY, cents INTEGER NOT NULL, taken_at REAL NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS notifications (
    id INTEGER PRIMARY KEY, message TEXT NOT NULL, created_at REAL NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS products (
    row INTEGER PRIMARY KEY, sku TEXT NOT NULL UNIQUE, maker TEXT NOT NULL, name TEXT NOT NULL,
    price_cents INTEGER NOT NULL, stock INTEGER NOT NULL
) STRICT;
CREATE INDEX IF NOT EXISTS products_by_name ON products (name);
CREATE INDEX IF NOT EXISTS products_by_value ON products (maker, price_cents * stock);
"""


@dataclass(frozen=True)
class User:
    id: str
    name: str
    email: str


@dataclass(frozen=True)
class Line:
    """One line of an order."""

    thing: str
    quantity: int
    cents: int
    """For one."""


@dataclass(frozen=True)
class Order:
    id: str
    email: str
    lines: list[Line]
    created_at: datetime

    @property
    def total_cents(self) -> int:
        return sum(line.quantity * line.cents for line in self.lines)


@dataclass(frozen=True)
class Stock:
    """What the shop has of one maker."""

    maker: str
    products: int
    value_cents: int
    dearest: list[catalogue.Product]
    """Those whose stock is worth most."""


def create() -> None:
    """Make the database and its tables, where they are missing."""
    settings.DATA.mkdir(parents=True, exist_ok=True)
    with _transaction() as db:
        db.execute("PRAGMA journal_mode = WAL")
        db.executescript(SCHEMA)


# -- users and orders ------------------------------------------------------------------------------


def sign_up(name: str, email: str) -> User:
    """The user with this address: a new one, unless there is one already."""
    with _transaction() as db:
        db.execute(
            "INSERT OR IGNORE INTO users (id, name, email, created_at) VALUES (?, ?, ?, ?)",
            (uuid4().hex, name, email, time.time()),
        )
        row = db.execute("SELECT id, name, email FROM users WHERE email = ?", (email,)).fetchone()
    return User(*row)


def find_user(user_id: str) -> User:
    record_execution()
    with _transaction() as db:
        row = db.execute("SELECT id, name, email FROM users WHERE id = ?", (user_id,)).fetchone()
    if row is None:
        raise NonRetriableError(f"No user {user_id}.")
    return User(*row)


def add_order(email: str, lines: Sequence[Line]) -> Order:
    order = Order(uuid4().hex, email, list(lines), datetime.now(UTC))
    kept = json.dumps([asdict(line) for line in lines])
    with _transaction() as db:
        db.execute(
            "INSERT INTO orders (id, email, lines, created_at) VALUES (?, ?, ?, ?)",
            (order.id, email, kept, order.created_at.timestamp()),
        )
    return order


def find_order(order_id: str) -> Order:
    record_execution()
    with _transaction() as db:
        row = db.execute(
            "SELECT id, email, lines, created_at FROM orders WHERE id = ?", (order_id,)
        ).fetchone()
    if row is None:
        raise NonRetriableError(f"No order {order_id}.")
    id, email, lines, created_at = row
    created = datetime.fromtimestamp(created_at, UTC)
    return Order(id, email, [Line(**line) for line in json.loads(lines)], created)


def take_payment(order: Order) -> int:
    """Charge the customer, once however often it is called; gives the cents.

    A payment service is told an order's id for the same reason: it refuses the second charge.
    """
    record_execution()
    with _transaction() as db:
        db.execute(
            "INSERT OR IGNORE INTO payments (order_id, cents, taken_at) VALUES (?, ?, ?)",
            (order.id, order.total_cents, time.time()),
        )
    return order.total_cents


def find_payments(order_id: str) -> list[tuple[int, float]]:
    """Cents and Unix seconds of each."""
    with _transaction() as db:
        return db.execute(
            "SELECT cents, taken_at FROM payments WHERE order_id = ?", (order_id,)
        ).fetchall()


def add_notification(message: str) -> None:
    """Something for the people in the shop to see."""
    with _transaction() as db:
        db.execute(
            "INSERT INTO notifications (message, created_at) VALUES (?, ?)", (message, time.time())
        )


def notifications() -> list[str]:
    """The newest first."""
    with _transaction() as db:
        rows = db.execute("SELECT message FROM notifications ORDER BY id DESC LIMIT 100")
        return [message for (message,) in rows]


# -- products --------------------------------------------------------------------------------------


def import_chunk(path: str, chunk: catalogue.Chunk) -> int:
    """Insert the chunk's rows; gives their number.

    All in one transaction, and harmless when repeated: if the process dies after this commit and
    before errands has kept the step's result, the step executes again, and finds its rows there.
    """
    record_execution()
    products = [astuple(product) for product in catalogue.read(path, chunk)]
    with _transaction() as db:
        db.executemany(
            "INSERT OR IGNORE INTO products (row, sku, maker, name, price_cents, stock)"
            " VALUES (?, ?, ?, ?, ?, ?)",
            products,
        )
    return len(products)


def take_stock(maker: str) -> Stock:
    record_execution()
    with _transaction() as db:
        products, cents = db.execute(
            "SELECT count(*), coalesce(sum(price_cents * stock), 0) FROM products WHERE maker = ?",
            (maker,),
        ).fetchone()
        dearest = db.execute(
            "SELECT row, sku, maker, name, price_cents, stock FROM products WHERE maker = ?"
            " ORDER BY price_cents * stock DESC, row LIMIT 30",
            (maker,),
        ).fetchall()
    return Stock(maker, products, cents, [catalogue.Product(*row) for row in dearest])


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
