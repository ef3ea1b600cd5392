"""Rows on a terminal. What is there to be copied is never cut; what there is no room for is left
out.
"""

from collections.abc import Sequence

from rich.cells import cell_len
from rich.table import Table
from rich.text import Text

from errands.cli.output import console, printable

GAP = 2
REMARK_MIN = 6
"""Columns below which a remark says nothing: "100 %" and a letter."""
NUMBERS = ("TOOK", "RETRIES", "RUNS")
"""Columns that are read from the right."""

Cell = str | Text
"""A string is of somebody else, and made printable; a Text is taken as it is."""


def print_table(
    header: Sequence[str],
    rows: Sequence[Sequence[Cell]],
    *,
    kept: int,
    remarks: Sequence[str] | None = None,
) -> None:
    """kept: so many columns are always shown; the later ones are left out first. remarks: one for
    each row, in what room is left, cut to it.
    """
    out = console()
    texts = [[_text(cell) for cell in row] for row in rows]
    count, room = _room(header, texts, kept, out.width)
    table = Table(box=None, padding=(0, GAP, 0, 0), pad_edge=False, header_style="bold")
    for name in header[:count]:
        table.add_column(name, no_wrap=True, justify="right" if name in NUMBERS else "left")
    is_remarked = remarks is not None and room >= REMARK_MIN
    if is_remarked:
        table.add_column("", no_wrap=True)
    for row, remark in zip(texts, remarks or [""] * len(texts), strict=True):
        said = Text(printable(remark.partition("\n")[0]))
        said.truncate(max(0, room), overflow="ellipsis")
        table.add_row(*row[:count], *([said] if is_remarked else []))
    # A terminal that is too narrow breaks the lines itself.
    out.width = max(out.width, out.width - room)
    out.print(table)


def _room(
    header: Sequence[str], rows: Sequence[Sequence[Text]], kept: int, width: int
) -> tuple[int, int]:
    """How many columns are shown, and what they leave for a remark; negative: what they lack."""
    widths = [
        max(cell_len(name), *(row[column].cell_len for row in rows))
        for column, name in enumerate(header)
    ]
    count = len(header)
    while count > kept and _width(widths[:count]) > width:
        count -= 1
    shown = _width(widths[:count])
    return count, width - shown - GAP if shown <= width else width - shown


def _width(widths: Sequence[int]) -> int:
    return sum(widths) + GAP * (len(widths) - 1)


def _text(cell: Cell) -> Text:
    return Text(printable(cell)) if isinstance(cell, str) else cell
