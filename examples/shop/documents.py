"""PDF files: invoices, and the report of the stock.

Each is named by its path under `settings.FILES`, e.g. "invoices/3f2a.pdf".
"""

import os
from collections.abc import Iterable, Sequence

from fpdf import FPDF
from fpdf.enums import TableCellFillMode
from fpdf.fonts import FontFace

from examples.shop import settings
from examples.shop.database import Order, Stock
from examples.shop.executions import record_execution

HEAD = FontFace(emphasis="BOLD", fill_color=(226, 232, 240))


def euros(cents: int) -> str:
    return f"{cents / 100:,.2f} EUR"


def write_invoice(order: Order) -> str:
    """The invoice of an order; gives its path."""
    record_execution()
    pdf = _new_document()
    _add_title(pdf, "Invoice", f"Order {order.id}, {order.created_at:%d %B %Y}, {order.email}")
    rows = [
        (line.thing, str(line.quantity), euros(line.cents), euros(line.quantity * line.cents))
        for line in order.lines
    ]
    total = ("Total", "", "", euros(order.total_cents))
    _add_table(pdf, ("Thing", "Quantity", "Each", "Sum"), [*rows, total])
    return _write(pdf, f"invoices/{order.id}.pdf")


def write_report(report_id: str, stocks: Sequence[Stock]) -> str:
    """The value of the stock: an overview, and a page for each maker; gives its path."""
    record_execution()
    pdf = _new_document()
    worth = euros(sum(stock.value_cents for stock in stocks))
    _add_title(pdf, "Stock", f"{sum(stock.products for stock in stocks):,} products, {worth}")
    overview = [(stock.maker, f"{stock.products:,}", euros(stock.value_cents)) for stock in stocks]
    _add_table(pdf, ("Maker", "Products", "Worth"), overview)
    for stock in stocks:
        pdf.add_page()
        _add_title(pdf, stock.maker, f"{stock.products:,} products, {euros(stock.value_cents)}")
        rows = [
            (f"{one.name} ({one.sku})", str(one.stock), euros(one.stock * one.price_cents))
            for one in stock.dearest
        ]
        _add_table(pdf, ("Product", "In stock", "Worth"), rows)
    return _write(pdf, f"reports/{report_id}.pdf")


def _new_document() -> FPDF:
    pdf = FPDF()
    pdf.set_author("The shop")
    pdf.add_page()
    return pdf


def _add_title(pdf: FPDF, title: str, below: str) -> None:
    pdf.set_font("Helvetica", "B", 22)
    pdf.cell(text=_printable(title), new_x="LMARGIN", new_y="NEXT")
    pdf.set_font("Helvetica", size=10)
    pdf.cell(h=12, text=_printable(below), new_x="LMARGIN", new_y="NEXT")


def _add_table(pdf: FPDF, head: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """The first column is text, the last one amounts."""
    with pdf.table(
        headings_style=HEAD,
        borders_layout="HORIZONTAL_LINES",
        cell_fill_mode=TableCellFillMode.NONE,
        text_align=("LEFT", *["RIGHT"] * (len(head) - 1)),
    ) as table:
        for row in (head, *rows):
            table.row([_printable(cell) for cell in row])


def _printable(text: str) -> str:
    # The fonts that every PDF reader has know Latin-1 alone.
    return text.encode("latin-1", "replace").decode("latin-1")


def _write(pdf: FPDF, name: str) -> str:
    target = settings.FILES / name
    target.parent.mkdir(parents=True, exist_ok=True)
    # Under its final name when it is whole: a crash leaves no half a file, a repetition no harm.
    unfinished = target.with_suffix(".part")
    pdf.output(str(unfinished))
    os.replace(unfinished, target)
    return name
