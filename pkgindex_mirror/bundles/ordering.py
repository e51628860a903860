"""The order in which files appear on the far side: packages, documents, pages of projects, pages about all projects, the state of the mirror.

Pure. A page names files, and a list names pages, so what is named is there first. What is removed goes in the opposite order.
"""

from __future__ import annotations

from typing import Final

PACKAGES, DOCUMENTS, PAGES, LISTS, STATE = RANKS = range(5)
STATES: Final = frozenset({"generation", "status", "web/last-modified"})
"""The files of bandersnatch's state, which it overwrites in place."""
_PACKED_AT_MOST: Final = 64 << 20
"""A page is compressed in memory."""


def rank_of(path: str) -> int:
    """The place of a file in the order, by its path in any layout with `simple` pages."""
    if path in STATES:
        return STATE
    inner = path.removeprefix("web/")
    top, _, below = inner.partition("/")
    if not below or top == "changelog" or (top == "simple" and "/" not in below):
        return LISTS
    if top in {"json", "pypi"}:
        return DOCUMENTS
    if top in {"packages", "files"}:
        return PACKAGES
    return PAGES if top == "simple" or path.endswith((".html", ".json")) else PACKAGES


def is_packed(path: str, size: int) -> bool:
    """Whether a file is worth compressing: pages and metadata are, packages are compressed already."""
    return 256 < size <= _PACKED_AT_MOST and (path.endswith(".metadata") or rank_of(path) != PACKAGES)
