"""CEL as it is written: its tokens, where that is sure."""

import functools
import re


@functools.cache
def token_pattern() -> re.Pattern[str]:
    return re.compile(
        r"""
        \s+
        | "(?:[^"\\\n]|\\.)*" | '(?:[^'\\\n]|\\.)*'
        | [A-Za-z_][A-Za-z0-9_]*
        | [0-9]+\.[0-9]+(?:[eE][+-]?[0-9]+)? | [0-9]+(?:[eE][+-]?[0-9]+)?
        | && | \|\| | == | != | <= | >=
        | .
        """,
        re.DOTALL | re.VERBOSE,
    )


def tokens_of(cel: str) -> list[str]:
    """The tokens of plain CEL; empty where these simple rules could misread it."""
    # Comments, and strings that are raw, of bytes, or in triple quotes, end by other rules.
    if "//" in cel or '"""' in cel or "'''" in cel or re.search(r"""\b[rRbB]{1,2}["']""", cel):
        return []
    found = [token[0] for token in token_pattern().finditer(cel) if not token[0].isspace()]
    return [] if '"' in found or "'" in found else found
