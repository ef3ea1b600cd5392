"""How log lines look on stderr: for people, or a JSON object a line; each names its run.

Only for programs that are errands' own (`errands serve`, `worker`, `dev`): nobody else's logging is
set up here. Secrets do not get into a line, whoever logs them.
"""

import json
import logging
import math
import re
import sys
from collections.abc import Collection, Mapping
from datetime import UTC, datetime
from typing import Any, Literal, TextIO, TypeAlias, cast

from errands.telemetry.spans import current_trace

Format: TypeAlias = Literal["text", "json"]
OF_RUN = ("run", "function", "step", "attempt")
"""Attributes that `sdk.logs` sets on what is logged inside a run."""
MASK = "***"
NAMES = re.compile(r"(?i)secret|passw|token|api_?key|signing_?key|event_?key|authorization|cookie")
"""Of extra fields whose values are nobody's business."""
_BEARER = re.compile(r"(?i)(\bbearer\s+|[?&]token=|/e/)[^\s\"'&?]+")
_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
_ours: logging.Handler | None = None


def configure_logging(
    format: Format = "text",
    level: int | str = logging.INFO,
    *,
    secrets: Collection[str] = (),
    stream: TextIO | None = None,
) -> None:
    """Show lines from `level` on, on `stream` (default: stderr), unless somebody has set up logging
    already. Called again, it replaces what it did.

    secrets: texts that no line may have in it.
    """
    global _ours
    root = logging.getLogger()
    if _ours is not None:
        root.removeHandler(_ours)
        _ours = None
    # The one that keeps the lines of runs shows them to nobody.
    if any(isinstance(handler, logging.StreamHandler) for handler in root.handlers):
        return
    root.setLevel(level)
    hidden = tuple(secret for secret in secrets if secret)
    _ours = logging.StreamHandler(stream or sys.stderr)
    _ours.setFormatter(JsonLines(hidden) if format == "json" else TextLines(hidden))
    root.addHandler(_ours)


class TextLines(logging.Formatter):
    """`2026-03-01 10:00:00,000 INFO    shop.orders: paid [shop/order 01J… step pay, attempt 1]`"""

    def __init__(self, secrets: Collection[str] = ()) -> None:
        super().__init__("%(asctime)s %(levelname)-7s %(name)s: %(message)s")
        self._secrets = secrets

    def formatMessage(self, record: logging.LogRecord) -> str:
        given, line = vars(record), super().formatMessage(record)
        if given.get("run") is None or "attempt" not in given:
            return line
        step = "" if given.get("step") is None else f" step {given['step']},"
        return f"{line} [{given.get('function')} {given['run']}{step} attempt {given['attempt']}]"

    def format(self, record: logging.LogRecord) -> str:
        return masked(super().format(record), self._secrets)


class JsonLines(logging.Formatter):
    """One object a line: ts, level, logger, message; in a run also run, function, step, attempt; in
    a trace trace_id; error with the traceback; and what was given as `extra`.
    """

    def __init__(self, secrets: Collection[str] = ()) -> None:
        super().__init__()
        self._secrets = secrets

    def format(self, record: logging.LogRecord) -> str:
        at = datetime.fromtimestamp(record.created, UTC)
        line: dict[str, Any] = {
            "ts": at.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        given = {name: value for name, value in vars(record).items() if name not in _STANDARD}
        for name in OF_RUN:
            if (value := given.pop(name, None)) is not None:
                line[name] = value
        if (trace := current_trace()) is not None:
            line["trace_id"] = trace.split("-")[1]
        if record.exc_info:
            line["error"] = self.formatException(record.exc_info)
        if record.stack_info:
            line["stack"] = record.stack_info
        for name, value in given.items():
            line.setdefault(name, value)
        return json.dumps(_clean(line, self._secrets))


def _clean(value: Any, secrets: Collection[str], depth: int = 0) -> Any:
    """The same without secrets, of types that JSON has."""
    if isinstance(value, str):
        return masked(value, secrets)
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else repr(value)
    if depth < 5 and isinstance(value, Mapping):
        pairs = cast("Mapping[object, Any]", value).items()
        return {
            str(name): MASK if NAMES.search(str(name)) else _clean(one, secrets, depth + 1)
            for name, one in pairs
        }
    if depth < 5 and isinstance(value, list | tuple):
        return [_clean(one, secrets, depth + 1) for one in cast("list[Any]", value)]
    return masked(repr(value), secrets)


def masked(text: str, secrets: Collection[str]) -> str:
    """Without these, and without what stands where a token does in headers and URLs."""
    for secret in secrets:
        text = text.replace(secret, MASK)
    return _BEARER.sub(rf"\1{MASK}", text)
