"""The tables of a TOML file, and the lines of its routes: `tomllib` tells the line of a mistake in TOML, and of nothing else."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from pkgindex_core.errors import Refused
from pkgindex_core.spelling import suggestion

_HEADER: Final = re.compile(r"\s*\[[^\[].*\]\s*(?:#.*)?\Z")


def text_of(path: Path) -> str:
    """The text of the file. One that cannot be read is `Refused`."""
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise Refused(
            f"{path} cannot be read: {error.strerror}", hint="--routes takes a file of simpleindex"
        ) from error
    except UnicodeDecodeError as error:
        raise Refused(f"{path} is not UTF-8 text", hint="--routes takes a TOML file of simpleindex") from error


def tables_of(path: Path, text: str, key: str) -> Mapping[str, Any]:
    """The tables below a dotted key, with at least one route. `path` is for messages."""
    try:
        document: Any = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        where = str(error).replace("(at end of document)", f"(at line {len(text.splitlines())}, the last one)")
        raise Refused(f"{path.name} is no TOML: {where}", hint="correct this line; nothing was changed") from error
    for part in key.split(".") if key else ():
        if not isinstance(document, dict) or part not in document:
            known = document if isinstance(document, dict) else ()
            raise Refused(f"{path.name} has no {key!r}: {part!r} is missing", hint=suggestion(part, known))
        document = document[part]
    if not isinstance(document, dict) or not document.get("routes"):
        raise Refused(
            f"{path.name} has no routes{f' below {key!r}' if key else ''}",
            hint='write [routes."{project}"] with source and to below it',
        )
    return document


def lines_of(text: str, key: str) -> Mapping[str, int]:
    """The line of each route's header, by its pattern. A route that is written otherwise has none."""
    above = [*(key.split(".") if key else ()), "routes"]
    lines: dict[str, int] = {}
    for number, line in enumerate(text.splitlines(), 1):
        if not _HEADER.match(line):
            continue
        try:
            table: Any = tomllib.loads(line)
        except tomllib.TOMLDecodeError:
            continue  # a line within a longer text
        for part in above:
            table = table.get(part) if isinstance(table, dict) else None
        if isinstance(table, dict) and len(table) == 1:
            lines.setdefault(next(iter(table)), number)
    return lines
