"""The recipes of CONTRIBUTING.md as data, and a copy of the repository in which one can be followed."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent
CONTRIBUTING = (ROOT / "CONTRIBUTING.md").read_text("utf-8")

_PATH = re.compile(r"`((?:(?:etl|migrations|tests|\.ci)/[\w./*-]*)|[\w.-]+\.(?:md|toml|yaml))`")


def section(title: str) -> str:
    """Return what stands below a heading of CONTRIBUTING.md, whatever its level."""
    found = re.search(rf"^(#+) {re.escape(title)}\n(.*?)(?=^#{{2,3}} |\Z)", CONTRIBUTING, re.MULTILINE | re.DOTALL)
    assert found, f"CONTRIBUTING.md has no section {title!r}"
    return found[2]


def titles() -> list[str]:
    """Name the recipes, in their order."""
    recipes = CONTRIBUTING.partition("\n## Recipes\n")[2].partition("\n## ")[0]
    return re.findall(r"^### (.*)$", recipes, re.MULTILINE)


def paths_in(text: str) -> list[str]:
    """Return the files and folders that a text names, in its order, each once."""
    return [*dict.fromkeys(_PATH.findall(text))]


def files_of(title: str) -> list[str]:
    """Return the files and folders that the numbered steps of a recipe name."""
    steps = re.findall(r"^\d+\. (.*?)(?=^\d+\. |^$|\Z)", section(title), re.MULTILINE | re.DOTALL)
    return paths_in("\n".join(steps))


def seeing_tests(title: str) -> list[str]:
    """Return the tests that a recipe says will see what was forgotten."""
    return paths_in("\n".join(re.findall(r"^Seen by: (.*?)(?=^$|\Z)", section(title), re.MULTILINE | re.DOTALL)))


Edits = Mapping[str, Iterable[tuple[str, str]]]
"""By file: before which text, which stands there just once, what is inserted."""


@dataclass(frozen=True)
class Copy:
    """A copy of the repository in a folder."""

    folder: Path

    @classmethod
    def of(cls, source: Path, folder: Path) -> Copy:
        """Copy what the program, its migrations and its tests need."""
        for name in ("etl", "migrations", "tests"):
            shutil.copytree(source / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        for name in ("alembic.ini", "pyproject.toml", "README.md", "CONTRIBUTING.md"):
            shutil.copyfile(source / name, folder / name)
        return cls(folder)

    def edit(self, edits: Edits) -> None:
        for name, insertions in edits.items():
            path = self.folder / name
            text = path.read_text("utf-8")
            for anchor, inserted in insertions:
                assert text.count(anchor) == 1, (name, anchor)
                text = text.replace(anchor, inserted + anchor)
            path.write_text(text, encoding="utf-8")

    def run(self, *arguments: str, inside: Path | None = None, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run a module of it, in its folder unless told otherwise."""
        outer = {name: value for name, value in os.environ.items() if not name.startswith(("VB365_ETL_", "PYTEST_"))}
        return subprocess.run(
            [sys.executable, "-m", *arguments],
            cwd=inside or self.folder,
            env={**outer, "PYTHONPATH": str(self.folder), "HOME": str(self.folder), **environment},
            capture_output=True,
            text=True,
            check=False,
        )

    def differing(self, other: Path) -> list[str]:
        """Name the files that are not as in another folder."""
        return sorted(
            name
            for path in self.folder.rglob("*")
            if path.is_file() and "__pycache__" not in (name := path.relative_to(self.folder).as_posix())
            if not (other / name).is_file() or (other / name).read_bytes() != path.read_bytes()
        )
