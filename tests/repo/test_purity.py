"""What no import contract and no lint rule can see: the names our code uses, what our SQL says."""

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "src" / "errands"
QUERIES = PACKAGE / "store" / "sqlite" / "queries"

# The standard library as far as it only computes. Before adding to it: is the result the same, for
# the same arguments, in every process and at any time?
COMPUTING = set(
    """
    __future__ abc base64 binascii bisect collections contextlib copy dataclasses datetime decimal
    enum fractions functools graphlib hashlib heapq hmac inspect itertools json keyword math numbers
    operator re statistics string struct sys textwrap types typing unicodedata zlib zoneinfo
    """.split()
)
DECIDING = {*COMPUTING, "msgspec", "cel", "errands.model", "errands.engine"}

# A second SQLite library in one process drops the locks of the first and destroys the file; the
# others would bring threads of their own to the standard one.
OTHER_SQLITES = {"aiosqlite", "apsw", "libsql", "pysqlcipher3", "pysqlite3", "sqlcipher3", "sqlean"}

CLOCK_READINGS = {
    f"datetime.{name}"
    for name in ("datetime.now", "datetime.today", "datetime.utcnow", "date.today")
}

SETS = {"set", "frozenset", "WeakSet", "MutableSet", "AbstractSet"}


def sources(*folders: Path) -> list[Path]:
    return sorted(path for folder in folders for path in folder.rglob("*.py"))


def imports(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Line and name of each module imported; of `from a import b` that is a, or errands.b."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            module = "." * node.level + (node.module or "")
            if module == "errands":
                yield from ((node.lineno, f"errands.{alias.name}") for alias in node.names)
            else:
                yield node.lineno, module


def full_names(tree: ast.AST) -> dict[str, str]:
    """What each imported name of a file stands for: {"dt": "datetime.datetime"}."""
    names: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.asname: alias.name for alias in node.names if alias.asname}
        elif isinstance(node, ast.ImportFrom):
            names |= {
                alias.asname or alias.name: f"{node.module}.{alias.name}" for alias in node.names
            }
    return names


def full_name(node: ast.AST, names: dict[str, str]) -> str:
    """A dotted name with its imported beginning replaced; "" for any other expression."""
    first, *rest = (
        ast.unparse(node).split(".") if isinstance(node, ast.Name | ast.Attribute) else [""]
    )
    return ".".join([names.get(first, first), *rest])


def uses(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Line and full name of each name and attribute that a file reads."""
    names = full_names(tree)
    for node in ast.walk(tree):
        if isinstance(node, ast.Name | ast.Attribute):
            yield node.lineno, full_name(node, names)


def foreign_imports(tree: ast.AST) -> list[str]:
    """Imports of a model or engine file that are not on the list of what may decide."""
    return [
        f"line {line} imports {module}"
        for line, module in imports(tree)
        if not any(module == allowed or module.startswith(f"{allowed}.") for allowed in DECIDING)
    ]


def clock_readings(tree: ast.AST) -> list[str]:
    return [f"line {line} reads {name}" for line, name in uses(tree) if name in CLOCK_READINGS]


def other_sqlites(tree: ast.AST) -> list[str]:
    return [
        f"line {line} imports {module}"
        for line, module in imports(tree)
        if module.split(".")[0] in OTHER_SQLITES
    ]


def task_sets(tree: ast.AST) -> list[str]:
    """Places that keep tasks in a set: the order of one is by address, so no seed reproduces it."""
    names = full_names(tree)
    return [
        f"line {node.lineno}: {ast.unparse(node)}"
        for node in ast.walk(tree)
        if isinstance(node, ast.expr) and keeps_task_set(node, names)
    ]


def keeps_task_set(node: ast.expr, names: dict[str, str]) -> bool:
    match node:
        case ast.Subscript(value=container, slice=kept):
            is_set = full_name(container, names).split(".")[-1] in SETS
            return is_set and any(
                full_name(part, names) == "asyncio.Task" for part in ast.walk(kept)
            )
        case ast.Set() | ast.SetComp():
            return any(makes_task(part, names) for part in ast.walk(node))
        case ast.Call(func=ast.Attribute(attr="add"), args=[added]):
            return makes_task(added, names)
        case _:
            return full_name(node, names) == "asyncio.TaskGroup"


def makes_task(node: ast.AST, names: dict[str, str]) -> bool:
    makers = {"asyncio.create_task", "asyncio.ensure_future"}
    return isinstance(node, ast.Call) and full_name(node.func, names) in makers


def queries(text: str) -> Iterator[tuple[str, str]]:
    """Name and SQL, without comments, of each `-- name:` block."""
    name, *blocks = re.split(r"^-- name:\s*(\S+).*$", text, flags=re.MULTILINE)
    for name, block in zip(blocks[::2], blocks[1::2], strict=True):
        yield name, re.sub(r"--.*$", "", block, flags=re.MULTILINE)


def unordered_selects(sql: str) -> list[str]:
    """SELECTs whose order matters and is not said: outermost ones, and those that take some rows.

    A SELECT inside parentheses and without LIMIT gives a value or a set, which has no order.
    """
    found: list[str] = []
    scopes = [""]
    for part in re.split(r"('[^']*'|[()])", sql):
        if part == "(":
            scopes.append("")
        elif part == ")":
            inner = scopes.pop()
            if re.search(r"\bLIMIT\b", inner, re.IGNORECASE) and not ordered(inner):
                found.append(inner)
            scopes[-1] += "(…)"
        else:
            scopes[-1] += part
    found += [statement for statement in scopes[0].split(";") if not ordered(statement)]
    return [" ".join(statement.split()) for statement in found]


def ordered(statement: str) -> bool:
    has_select, has_order = (
        re.search(words, statement, re.IGNORECASE) for words in (r"\bSELECT\b", r"\bORDER\s+BY\b")
    )
    return not has_select or has_order is not None


@pytest.mark.parametrize("room", ["model", "engine"])
def test_rules_import_only_what_computes(room: str) -> None:
    found = {
        str(path.relative_to(ROOT)): wrong
        for path in sources(PACKAGE / room)
        if (wrong := foreign_imports(ast.parse(path.read_text())))
    }
    assert found == {}


def test_rules_are_given_the_time() -> None:
    found = {
        str(path.relative_to(ROOT)): wrong
        for path in sources(PACKAGE / "model", PACKAGE / "engine")
        if (wrong := clock_readings(ast.parse(path.read_text())))
    }
    assert found == {}


def test_no_second_sqlite_is_in_the_process() -> None:
    folders = [ROOT / name for name in ("src", "tests", "examples", "bench")]
    found = {
        str(path.relative_to(ROOT)): wrong
        for path in sources(*folders)
        if (wrong := other_sqlites(ast.parse(path.read_text())))
    }
    assert found == {}


def test_no_second_sqlite_is_installed_with_us() -> None:
    pinned = {
        re.split(r"[=\s]", line)[0].replace("-", "_")
        for path in (ROOT / "requirements").glob("*.txt")
        for line in path.read_text().splitlines()
    }
    assert pinned & OTHER_SQLITES == set()


def test_tasks_are_not_kept_in_sets() -> None:
    found = {
        str(path.relative_to(ROOT)): wrong
        for path in sources(PACKAGE)
        if (wrong := task_sets(ast.parse(path.read_text())))
    }
    assert found == {}


def test_loads_and_claims_say_their_order() -> None:
    found = {
        f"{path.name}: {name}": wrong
        for path in sorted(QUERIES.glob("*.sql"))
        for name, sql in queries(path.read_text())
        if name.startswith(("load_", "claim_")) and (wrong := unordered_selects(sql))
    }
    assert found == {}


# The rest shows that each search finds what it is for.


@pytest.mark.parametrize(
    "line",
    ["import os", "from time import time", "from errands.store import open", "import errands.sdk",
     "from errands import store", "from . import clock", "import random as datetime"],
)  # fmt: skip
def test_a_foreign_import_is_found(line: str) -> None:
    assert len(foreign_imports(ast.parse(line))) == 1


def test_the_computing_modules_exist() -> None:
    assert COMPUTING - sys.stdlib_module_names == set()


@pytest.mark.parametrize(
    "code",
    [
        "import datetime\ndatetime.datetime.now()",
        "from datetime import datetime, UTC\ndatetime.now(UTC)",
        "from datetime import datetime as dt\nfield(default_factory=dt.utcnow)",
        "import datetime as d\nd.date.today()",
    ],
)
def test_a_reading_of_the_clock_is_found(code: str) -> None:
    assert len(clock_readings(ast.parse(code))) == 1


def test_a_field_named_now_is_no_reading_of_the_clock() -> None:
    assert clock_readings(ast.parse("state.now\nnow = given.today()")) == []


@pytest.mark.parametrize(
    "code",
    [
        "import asyncio\ntasks: set[asyncio.Task[None]] = set()",
        "from asyncio import Task\ntasks: 'dict[str, int] | None'\nkept: frozenset[Task[int]]",
        "import asyncio, weakref\ntasks: weakref.WeakSet[asyncio.Task[None]]",
        "import asyncio\ntasks = {asyncio.create_task(f()) for f in fs}",
        "import asyncio\ntasks.add(asyncio.create_task(f()))",
        "import asyncio\nasync def f():\n    async with asyncio.TaskGroup() as group: ...",
        "from asyncio import TaskGroup\ngroup = TaskGroup()",
    ],
)
def test_a_set_of_tasks_is_found(code: str) -> None:
    assert task_sets(ast.parse(code)) != []


def test_other_keepers_of_tasks_are_fine() -> None:
    code = "import asyncio\ntasks: dict[asyncio.Task[None], set[str]] = {}\nids: set[int] = set()"
    assert task_sets(ast.parse(code)) == []


def test_an_order_left_unsaid_is_found() -> None:
    text = """
    -- name: claim_items
    -- ORDER BY is only in this comment.
    UPDATE items SET fence = fence + 1 WHERE id IN (SELECT id FROM items WHERE due LIMIT :limit)
    RETURNING id;

    -- name: load_runs
    SELECT id FROM runs WHERE id IN (SELECT run_id FROM steps);
    """
    text = re.sub(r"^ +", "", text, flags=re.MULTILINE)
    assert {name: len(unordered_selects(sql)) for name, sql in queries(text)} == {
        "claim_items": 1,
        "load_runs": 1,
    }


def test_an_order_said_once_is_enough() -> None:
    sql = """
    WITH named AS (SELECT value FROM json_each(:ids))
    SELECT id, ')' FROM runs WHERE id IN (SELECT value FROM named) ORDER BY id
    """
    assert unordered_selects(sql) == []
