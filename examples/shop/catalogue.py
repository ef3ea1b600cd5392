"""What the shop sells; and product lists as CSV files: making one, cutting it, reading a chunk.

python -m examples.shop.catalogue products.csv
"""

import csv
import random
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import BinaryIO

from errands import NonRetriableError
from examples.shop.executions import record_execution

CHUNK = 1_000
COLUMNS = ("sku", "maker", "name", "price", "stock")
MAKERS = ("Acme", "Borealis", "Cobalt", "Dune", "Élan", "Fjord", "Granite", "Häuser")
PRICES = {
    "lamp": 49_00,
    "chair": 129_00,
    'table, 60"': 399_00,
    "kettle": 35_50,
    "rug": 89_00,
    "clock": 24_90,
    "mirror": 75_00,
    "shelf": 59_00,
    "vase": 18_00,
}
"""What can be ordered without a product list, in cents."""


@dataclass(frozen=True)
class Chunk:
    """Some rows of a file that stand together."""

    first_row: int
    """Counted from 0; the header is not a row."""
    rows: int
    offset: int
    """Where in the file they begin, in bytes."""


@dataclass(frozen=True)
class Product:
    row: int
    sku: str
    maker: str
    name: str
    price_cents: int
    stock: int


class NotAProductList(NonRetriableError):
    """Customers read it."""


def write(path: Path, rows: int) -> None:
    """Make a product list; the same rows give the same file."""
    draw = random.Random(rows)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        for row in range(rows):
            maker = draw.choice(MAKERS)
            name = f"{draw.choice(list(PRICES))} no. {draw.randrange(10_000)}"
            price = f"{draw.randrange(1, 500)}.{draw.randrange(100):02}"
            writer.writerow((f"SKU-{row:07}", maker, name, price, draw.randrange(100)))


def cut(path: str) -> list[Chunk]:
    """Where each chunk of the file begins."""
    record_execution()
    with open(path, "rb") as file:
        _header(file)
        starts = [file.tell()]
        rows = 0
        for _ in csv.reader(_lines(file)):
            rows += 1
            if rows % CHUNK == 0:
                starts.append(file.tell())
    sizes = (min(CHUNK, rows - n * CHUNK) for n in range(len(starts)))
    return [Chunk(n * CHUNK, size, starts[n]) for n, size in enumerate(sizes) if size]


def read(path: str, chunk: Chunk) -> Iterator[Product]:
    """The products of one chunk. Raises NotAProductList for a row that is none."""
    with open(path, "rb") as file:
        file.seek(chunk.offset)
        reader = csv.reader(_lines(file))
        for row in range(chunk.first_row, chunk.first_row + chunk.rows):
            yield _product(row, next(reader))


def _header(file: BinaryIO) -> None:
    columns = tuple(next(csv.reader(_lines(file)), ()))
    if columns != COLUMNS:
        # No second try will change the file.
        raise NotAProductList(f"Its columns are {columns}, not {COLUMNS}.")


def _lines(file: BinaryIO) -> Iterator[str]:
    # readline, not iteration: only so does tell() know where the row after this one begins.
    while line := file.readline():
        yield line.decode("utf-8")


def _product(row: int, cells: list[str]) -> Product:
    try:
        sku, maker, name, price, stock = cells
        return Product(row, sku, maker, name, int(Decimal(price) * 100), int(stock))
    except (ValueError, InvalidOperation) as error:
        raise NotAProductList(f"Row {row + 1} is no product: {cells}.") from error


if __name__ == "__main__":
    write(Path(sys.argv[1]), rows=100_000)
