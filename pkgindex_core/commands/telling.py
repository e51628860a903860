"""The output of commands: texts for people on standard error, documents for programs on standard output."""

from __future__ import annotations

import sys
from typing import Any, NoReturn

import click
import msgspec

from pkgindex_core.errors import PkgIndexError


def fail(error: PkgIndexError, *, status: int = 1) -> NoReturn:
    """Print the error with its hint, and exit."""
    tell(error)
    sys.exit(status)


def tell(error: PkgIndexError, *, about: str = "") -> None:
    """Print the problems and the hint of an error. `about` names the one of several items that the error concerns."""
    subject = f"{about}: " if about else ""
    for problem in getattr(error, "problems", (error.message,)):
        talk(f"error: {subject}{problem}")
    if error.hint:
        talk(f"hint: {error.hint}")


def talk(text: str) -> None:
    """Print a text for people on standard error."""
    click.echo(text, err=True)


def print_json(value: Any) -> None:
    """Print a JSON document for programs on standard output."""
    click.echo(msgspec.json.format(msgspec.json.encode(value), indent=2).decode())
