"""The import contracts of pyproject.toml hold, and each of them notices a planted fault.

Faults are planted in a copy of the tree. A room that is not built yet stands in it as an empty
module, so that the contracts can be read at any time.
"""

import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[2]

LAYERS = "Layers point one way: each line may import only the lines below it"
PURE = "Model and engine decide; they never touch the world"
LIGHT = "A user's app that imports the SDK pulls in no server code"
STORES = "Concrete stores are reached only through open_store"
ACYCLIC = "No cycles between siblings, at any depth"


class Fault(NamedTuple):
    contract: str
    """The contract that must break."""
    module: str
    """Where it is planted, as a path in src/errands. It has the one import."""
    imported: str
    """The module imported there, which must not be."""


FAULTS = [
    Fault(PURE, "engine/planted.py", "time"),
    Fault(PURE, "model/planted.py", "asyncio"),
    Fault(LAYERS, "engine/planted.py", "errands.store"),
    Fault(LAYERS, "model/planted.py", "errands.engine"),
    Fault(LAYERS, "executors/planted.py", "errands.sdk"),
    Fault(STORES, "executors/planted.py", "errands.store.sqlite"),
    Fault(STORES, "embedded/planted.py", "errands.store.sqlite"),
    Fault(LIGHT, "sdk/planted.py", "errands.engine"),
    Fault(LIGHT, "sdk/planted.py", "errands.executors"),
    Fault(LIGHT, "sdk/planted.py", "errands.clock"),
]


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A copy of pyproject.toml and src/, to be planted with faults."""
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    shutil.copytree(ROOT / "src", tmp_path / "src", ignore=shutil.ignore_patterns("__pycache__"))
    package = tmp_path / "src" / "errands"
    for room in rooms():
        if not (package / f"{room}.py").exists():
            add(package / room / "__init__.py")
    return tmp_path


def rooms() -> list[str]:
    """Each module that a contract names, as a path in src/errands."""
    config = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]
    layers, *_, stores, _ = config["contracts"]
    names = [name.strip() for layer in layers["layers"] for name in layer.split("|")]
    full_names = stores["protected_modules"] + stores["allowed_importers"]
    return names + [name.removeprefix("errands.").replace(".", "/") for name in full_names]


def add(path: Path, text: str = "") -> None:
    """Write `path` unless it exists, with what makes its folder a package."""
    path.parent.mkdir(parents=True, exist_ok=True)
    for file, content in ((path.parent / "__init__.py", ""), (path, text)):
        if not file.exists():
            file.write_text(content)


def lint(tree: Path) -> subprocess.CompletedProcess[str]:
    command = Path(sys.executable).with_name("lint-imports")
    env = {**os.environ, "PYTHONPATH": str(tree / "src"), "NO_COLOR": "1", "COLUMNS": "200"}
    return subprocess.run(
        [command, "--no-cache", "--no-logo"], cwd=tree, env=env, capture_output=True, text=True
    )


def test_contracts_hold(tree: Path) -> None:
    found = lint(tree)

    assert found.returncode == 0, found.stdout + found.stderr
    for contract in (LAYERS, PURE, LIGHT, STORES, ACYCLIC):
        assert f"{contract} KEPT" in found.stdout


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: f"{fault.module}-{fault.imported}")
def test_contract_names_a_forbidden_import(tree: Path, fault: Fault) -> None:
    module = fault.module
    if (single := tree / "src/errands" / f"{module.split('/')[0]}.py").exists():
        single.write_text(f"import {fault.imported}\n" + single.read_text())
        module = single.name
    else:
        add(tree / "src/errands" / module, f"import {fault.imported}\n")

    found = lint(tree)

    importer = "errands." + module.removesuffix(".py").replace("/", ".")
    assert found.returncode != 0
    assert f"{fault.contract} BROKEN" in found.stdout
    assert f"{importer} -> {fault.imported} (l.1)" in found.stdout


def test_contract_names_a_cycle_between_siblings(tree: Path) -> None:
    add(tree / "src/errands/engine/planted_a.py", "import errands.engine.planted_b\n")
    add(tree / "src/errands/engine/planted_b.py", "import errands.engine.planted_a\n")

    found = lint(tree)

    assert found.returncode != 0
    assert f"{ACYCLIC} BROKEN" in found.stdout
    assert "planted_a" in found.stdout
    assert "planted_b" in found.stdout


def test_contract_names_a_module_that_no_layer_holds(tree: Path) -> None:
    add(tree / "src/errands/planted.py")

    found = lint(tree)

    assert found.returncode != 0
    assert "planted" in found.stdout + found.stderr
