"""The places of a wheel's files whose meaning depends on their path (PEP 427, "File contents")."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

INFO: Final = ".dist-info"


def runs_at_start(path: str) -> bool:
    """Whether the file runs whenever an interpreter starts: `.pth`, and `.start` of PEP 829, in the directory of packages.

    >>> runs_at_start("a.pth"), runs_at_start("a-1.data/purelib/a.pth"), runs_at_start("a/b.pth")
    (True, True, False)
    """
    if not path.endswith((".pth", ".start")):
        return False
    top, slash, rest = path.partition("/")
    return not slash or (top.endswith(".data") and rest.count("/") == 1)


def script_of(path: str) -> str:
    """The name of the command that the file becomes; empty if it is no script.

    >>> script_of("a-1.data/scripts/run")
    'run'
    """
    top, _, rest = path.partition("/")
    scheme, _, name = rest.partition("/")
    return name if top.endswith(".data") and scheme == "scripts" else ""


def info_path(paths: Iterable[str], name: str) -> str:
    """The path of a file of `.dist-info`; empty if the wheel has none, or several."""
    found = [path for path in paths if path.endswith(f"{INFO}/{name}") and path.count("/") == 1]
    return found[0] if len(found) == 1 else ""
