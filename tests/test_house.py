"""The shape of the project: packages, arrows, what an import loads."""

import ast
import importlib.util
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
HOUSE = tomllib.loads((ROOT / "pyproject.toml").read_text())
#: Who may import whom; nobody imports cli or testing.
ARROWS = {
    "core": set(),
    "lsh": {"core"},
    "adapters": {"core", "lsh"},
    "builders": {"core"},
    "catalog": {"core"},
    "users": {"core", "adapters"},
    "space": {"core", "adapters", "catalog", "users"},
    "publishing": {"core", "adapters", "catalog", "users", "space"},
    "testing": {"core", "adapters"},
    "evaluation": {"core", "adapters", "builders"},
    "cli": {
        "core",
        "adapters",
        "builders",
        "catalog",
        "space",
        "publishing",
        "users",
        "public",
        "evaluation",
    },
}


def test_the_list_of_packages_is_that_of_the_folders() -> None:
    setuptools = HOUSE["tool"]["setuptools"]
    places = setuptools["package-dir"]
    assert setuptools["packages"] == sorted(places) == sorted(set(places))
    hidden = {"tests", "build", "dist", "examples"}
    rooms = {
        path.parent.relative_to(ROOT).as_posix()
        for path in ROOT.glob("**/__init__.py")
        if not any(part.startswith(".") or part in hidden for part in path.relative_to(ROOT).parts)
    }
    assert rooms == set(places.values())
    assert not list(ROOT.glob("*.py"))


@pytest.mark.parametrize("room", ARROWS)
def test_arrows_point_one_way(room: str) -> None:
    for path in (ROOT / room).rglob("*.py"):
        depth = len(path.relative_to(ROOT / room).parts)
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and node.level > depth:
                target = (node.module or "public").partition(".")[0]
                assert target in ARROWS[room] | {room}, f"{path} imports {target}"


def test_the_release_is_named_once_per_place() -> None:
    import itemspace

    assert HOUSE["project"]["version"] == itemspace.__version__
    assert f"## {itemspace.__version__}" in (ROOT / "CHANGELOG.md").read_text()


def test_every_module_imports_by_itself() -> None:
    """No import works only because another came first."""
    modules = [
        f"itemspace.{'.'.join(path.relative_to(ROOT).with_suffix('').parts)}"
        for room in ARROWS
        for path in (ROOT / room).rglob("*.py")
        if path.name != "__init__.py"
    ]
    assert len(modules) > 40
    code = """
import importlib, sys
for name in sys.argv[1:]:
    for loaded in [n for n in sys.modules if n.partition(".")[0] == "itemspace"]:
        del sys.modules[loaded]
    importlib.import_module(name)
"""
    subprocess.run([sys.executable, "-W", "ignore", "-c", code, *modules], check=True)
    assert importlib.util.find_spec("itemspace.migrations.env") is not None
