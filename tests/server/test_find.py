"""Which App `errands dev` takes where nobody says, and which files it watches."""

import os
from pathlib import Path

import pytest

from errands.dev.find import find_target
from errands.dev.sources import changed_file, take_snapshot
from errands.model.errors import InvalidConfig

APP = 'from errands import App\n\napp = App("a")\n'


def write(folder: Path, **files: str) -> None:
    for name, text in files.items():
        (folder / f"{name}.py").write_text(text)


def test_an_empty_folder_has_none(tmp_path: Path) -> None:
    assert find_target(tmp_path) is None


@pytest.mark.parametrize(
    ("text", "name"),
    [
        (APP, "app"),
        ('import errands\nshop = errands.App("a", url=None)', "shop"),
        ('from errands import App as Errands\nshop: Errands = Errands("a")', "shop"),
    ],
)
def test_it_is_found_by_reading(tmp_path: Path, text: str, name: str) -> None:
    write(tmp_path, shop=text, other="import errands\nprint('not imported')")
    assert find_target(tmp_path) == f"shop:{name}"


@pytest.mark.parametrize(
    "text", ["from elsewhere import App\napp = App()", "from errands import App", "app = (", ""]
)
def test_what_is_none_is_not_taken(tmp_path: Path, text: str) -> None:
    write(tmp_path, shop=text)
    assert find_target(tmp_path) is None


def test_the_usual_names_go_before_others(tmp_path: Path) -> None:
    write(tmp_path, main=APP, shop=APP)
    assert find_target(tmp_path) == "main:app"
    write(tmp_path, errands_app=APP)
    assert find_target(tmp_path) == "errands_app:app"


def test_of_several_one_must_be_named(tmp_path: Path) -> None:
    write(tmp_path, one=APP, two=APP)
    with pytest.raises(InvalidConfig, match="There are one:app, two:app"):
        find_target(tmp_path)


def test_the_settings_file_goes_before_all(tmp_path: Path) -> None:
    write(tmp_path, main=APP)
    (tmp_path / "pyproject.toml").write_text('[tool.errands]\napp = "shop.jobs:app"')
    assert find_target(tmp_path) == "shop.jobs:app"


# -- watched files ---------------------------------------------------------------------------------


def test_a_change_a_new_file_and_a_lost_one_are_seen(tmp_path: Path) -> None:
    package = tmp_path / "package"
    package.mkdir()
    write(package, a="1")
    before = take_snapshot(tmp_path)
    assert changed_file(before, take_snapshot(tmp_path)) is None

    write(package, b="1")
    with_b = take_snapshot(tmp_path)
    assert changed_file(before, with_b) == str(package / "b.py")

    os.utime(package / "b.py", ns=(1, 1))
    touched = take_snapshot(tmp_path)
    assert changed_file(with_b, touched) == str(package / "b.py")

    (package / "a.py").unlink()
    assert changed_file(touched, take_snapshot(tmp_path)) == str(package / "a.py")


def test_files_of_environments_and_hidden_folders_are_not_watched(tmp_path: Path) -> None:
    for name in ("environment", ".hidden", "node_modules", "__pycache__"):
        (tmp_path / name).mkdir()
        write(tmp_path / name, module="1")
    (tmp_path / "environment" / "pyvenv.cfg").touch()
    (tmp_path / "notes.txt").touch()

    assert not take_snapshot(tmp_path)
