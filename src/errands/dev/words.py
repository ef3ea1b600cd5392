"""What the development server says in its terminal."""

import os
import re
import sys

STYLES = {"bold": 1, "dim": 2, "red": 31, "green": 32, "yellow": 33, "magenta": 35, "cyan": 36}
_CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


def style(text: str, name: str) -> str:
    """Coloured where a person looks at it: on a terminal, without NO_COLOR."""
    if not sys.stdout.isatty() or os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb":
        return text
    return f"\x1b[{STYLES[name]}m{text}\x1b[0m"


def one_line(text: str, width: int) -> str:
    """Somebody else's text: cut, and without what a terminal would obey."""
    line = _CONTROLS.sub(" ", text)
    return line if len(line) <= width else f"{line[: width - 1]}…"
