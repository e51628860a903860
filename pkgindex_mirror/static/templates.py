"""The pages of a tree for people, out of templates: of those of one name a plugin's comes before our own (`pkgindex_templates`)."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from pkgindex_core.errors import Refused

if TYPE_CHECKING:
    from jinja2 import Environment

OWN: Final = Path(__file__).with_name("html")
ROWS: Final = b"<!-- rows -->"
"""Stands for the rows of a table. Text of strangers is escaped, so it never has this."""
COUNT: Final = b"<!-- count -->"
"""Stands for the number of projects."""


class _Marker(str):
    """A text that a template does not escape."""

    __slots__ = ()

    def __html__(self) -> str:
        return self


class StaticTemplates:
    """Writes the frames of pages. What they are given is escaped; a value that a template names and was not given is an error."""

    def __init__(self, directories: Sequence[Path]) -> None:
        """`directories` are searched in order."""
        self._directories = directories

    @cached_property
    def fingerprint(self) -> str:
        """Changes with any template."""
        found = hashlib.sha256()
        for directory in self._directories:
            for path in sorted(directory.glob("static_*.html")):
                found.update(path.name.encode() + path.read_bytes())
        return found.hexdigest()

    def frame(self, name: str, **values: Any) -> bytes:
        """A page with `ROWS` in the place of its rows, and `COUNT` in that of the number of projects."""
        values = {"rows": _Marker(ROWS.decode()), "count": _Marker(COUNT.decode()), **values}
        made = self._environment.get_template(name).render(values).encode("utf-8", "replace")
        if ROWS not in made:
            raise Refused(f"the template {name} shows no rows", hint="write {{ rows }} where the rows of the table go")
        return made

    @cached_property
    def _environment(self) -> Environment:
        # Loaded when something is written: most runs find nothing new.
        from jinja2 import Environment, FileSystemLoader, StrictUndefined

        return Environment(
            loader=FileSystemLoader(self._directories),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
            keep_trailing_newline=True,
        )
