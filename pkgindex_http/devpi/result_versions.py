"""The two forms of a document: devpi 7's with `?v=2`, else devpi 6's, which clients and tools of devpi 6 read.

devpi 7.0 itself has `?v=2` for projects only. Here it also applies to indexes, whose options have other names in devpi 7.
"""

from __future__ import annotations

from pkgindex_core.errors import Refused
from pkgindex_http.requests import Ask

_SHOWN = 80


def of_devpi_7(ask: Ask) -> bool:
    """Whether the request asks for the form of devpi 7. Raises `Refused` for an unknown version."""
    said = ask.query("v")
    if said is None or said == "1":
        return False
    if said == "2":
        return True
    if said.isascii() and said.removeprefix("-").isdigit():
        raise Refused(f"The requested result version must be 1 to 2, got {said[:_SHOWN]}")
    raise Refused(f"The requested result version must be an integer, got {said[:_SHOWN]!r}")
