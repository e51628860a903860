"""The project's own source, read once for all house rules."""

from __future__ import annotations

import ast
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("pkgindex_core", "pkgindex_http", "pkgindex_mirror")


@dataclass(frozen=True)
class Module:
    """One source file."""

    name: str
    path: Path
    text: str
    tree: ast.Module

    @property
    def place(self) -> str:
        return self.path.relative_to(ROOT).as_posix()


@pytest.fixture(scope="session")
def root() -> Path:
    """The directory of the project."""
    return ROOT


@pytest.fixture(scope="session")
def modules() -> list[Module]:
    """Every module of the three packages."""
    found = []
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            name = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
            text = path.read_text(encoding="utf-8")
            found.append(Module(name, path, text, ast.parse(text)))
    assert len(found) > 50, "the packages were not found"
    return found
