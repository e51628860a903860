"""Which of its two forms a document has: `?v=2` asks for devpi 7's.

Without it documents have the names of devpi 6, which its clients and the tools around them read. devpi 7.0 itself knows `?v=2` for
projects only; here it is asked in the same way for an index, whose options have other names in devpi 7.
"""

from __future__ import annotations

from pkgindex_core.errors import Refused
from pkgindex_http.requests import Ask

_SHOWN = 80


def of_devpi_7(ask: Ask) -> bool:
    """Whether the form of devpi 7 is wanted. `Refused` for a version that there is not."""
    said = ask.query("v")
    if said is None or said == "1":
        return False
    if said == "2":
        return True
    if said.isascii() and said.removeprefix("-").isdigit():
        raise Refused(f"The requested result version must be 1 to 2, got {said[:_SHOWN]}")
    raise Refused(f"The requested result version must be an integer, got {said[:_SHOWN]!r}")
