"""The library that evaluates CEL, loaded when the first expression needs it."""

import functools
import sys
import types
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cel import Program


@functools.cache
def _library() -> types.ModuleType:
    # The package imports its own command line, and with it a terminal toolkit: 200 ms and 24 MiB
    # that nobody here needs. An empty module in its place keeps them out.
    name = "cel.cli"
    stand_in = name not in sys.modules
    if stand_in:
        sys.modules[name] = types.ModuleType(name)
    try:
        import cel
    finally:
        if stand_in:
            del sys.modules[name]
    return cel


def compile_cel(expression: str) -> "Program":
    """Raises ValueError when it is no CEL."""
    program: Program = _library().compile(expression)
    return program
