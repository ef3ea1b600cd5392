"""Figures as JSON, and as a table for people."""

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from bench.figures import Figure, Value

HEAD = ("figure", "value", "unit", "must", "aim", "floor", "ratio", "scaled", "verdict")


def summary(figure: Figure, values: Sequence[Value], floors: Sequence[Value]) -> dict[str, Any]:
    """Medians. ratio: value / floor of the same run; scaled: ratio × the reference floor."""
    value = _median(values)
    floor = _median(floors) if floors else None
    ratio = None if floor is None else _each(lambda a, b: a / b, value, floor)
    scaled = None
    if ratio is not None and figure.reference is not None:
        scaled = _each(lambda a, b: a * b, ratio, figure.reference)
    return {
        "value": _rounded(value),
        "unit": figure.unit,
        "floor": _rounded(floor),
        "ratio": _rounded(ratio),
        "runs": [_rounded(one) for one in values],
        "floors": [_rounded(one) for one in floors],
        "must": figure.must,
        "aim": figure.aim,
        "scaled": _rounded(scaled),
        "verdict": verdict(figure, value),
        "verdict_scaled": None if scaled is None else verdict(figure, scaled),
    }


def verdict(figure: Figure, value: Value) -> str:
    if figure.aim is not None and _reaches(figure, value, figure.aim):
        return "aim"
    return "must" if _reaches(figure, value, figure.must) else "below"


def _reaches(figure: Figure, value: Value, wanted: Value) -> bool:
    if isinstance(wanted, dict):
        assert isinstance(value, dict)
        return all(value[part] <= limit for part, limit in wanted.items())
    assert not isinstance(value, dict)
    return value >= wanted if figure.is_rate else value <= wanted


def table(found: Mapping[str, Mapping[str, Any]]) -> str:
    rows: list[tuple[str, ...]] = [HEAD]
    for name, one in found.items():
        told = one["verdict"]
        if one["verdict_scaled"] not in (None, told):
            told += f" (scaled: {one['verdict_scaled']})"
        figures = (one[part] for part in ("must", "aim", "floor", "ratio", "scaled"))
        rows.append((name, text(one["value"]), one["unit"], *map(text, figures), told))
    widths = [max(len(row[column]) for row in rows) for column in range(len(HEAD))]
    lines = [
        "  ".join(
            cell.ljust(width) if column in (0, 2, 8) else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
    lines.insert(1, "-" * max(map(len, lines)))
    return "\n".join(lines)


def text(value: Value | None) -> str:
    if value is None:
        return "-"
    if isinstance(value, dict):
        return " / ".join(text(part) for part in value.values())
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _median(values: Sequence[Value]) -> Value:
    if isinstance(values[0], dict):
        return {
            part: statistics.median(one[part] for one in values if isinstance(one, dict))
            for part in values[0]
        }
    return statistics.median(one for one in values if not isinstance(one, dict))


def _each(act: Any, a: Value, b: Value) -> Value:
    if isinstance(a, dict):
        assert isinstance(b, dict)
        return {part: act(a[part], b[part]) for part in a}
    return act(a, b)


def _rounded(value: Value | None) -> Value | None:
    if isinstance(value, dict):
        return {part: float(f"{one:.4g}") for part, one in value.items()}
    return None if value is None else float(f"{value:.4g}")
