"""What a docstring says that a module must not know is held by an import contract: such words are no decoration."""

from __future__ import annotations

import ast
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

# The module that says it -> the contracts in pyproject.toml that hold it.
HELD_BY = {
    "etl/extract/__init__.py": {
        "Extract knows no tables",
        "Extract, load and derive read no document: they meet transform in its records and catalogue",
    },
    "etl/load/__init__.py": {
        "One file speaks httpx",
        "Extract, load and derive read no document: they meet transform in its records and catalogue",
    },
    "etl/transform/__init__.py": {"Transform and derive know neither HTTP nor SQL"},
    "etl/derive/__init__.py": {"Transform and derive know neither HTTP nor SQL"},
}


def test_who_must_not_know_something_is_held_to_it() -> None:
    says = {
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / "etl").rglob("*.py")
        if "must not" in (ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or "")
    }
    assert says == set(HELD_BY)


def test_the_contracts_that_are_named_are_there() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    contracts = {each["name"] for each in settings["tool"]["importlinter"]["contracts"]}
    assert set().union(*HELD_BY.values()) <= contracts


def test_every_room_has_its_place_among_the_layers() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    layers = settings["tool"]["importlinter"]["contracts"][0]["layers"]
    placed = {name for layer in layers for name in layer.replace(" ", "").split("|")}
    rooms = {f"etl.{each.stem}" for each in (ROOT / "etl").glob("*.py")}
    rooms |= {f"etl.{each.parent.name}" for each in (ROOT / "etl").glob("*/__init__.py")}
    assert rooms - placed == {"etl.__init__", "etl.__main__", "etl.simulator"}
