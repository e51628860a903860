"""The messages of a run: its progress while it lasts, and its outcome."""

from __future__ import annotations

from collections.abc import Callable

from msgspec import Struct

Progress = Callable[[str, int, int], None]
"""Called with the present step, the number of items that are done, and the number of all."""


class PublishReport(Struct, kw_only=True):
    """The outcome of a run."""

    serial: int = 0
    projects: int = 0
    """The number of projects in the tree."""
    looked_at: int = 0
    objects: int = 0
    """Pages, documents and lists that were written."""
    files: int = 0
    """Files that were put into the tree."""
    removed: int = 0
    whole: bool = False
    """Whether all projects were looked at."""
    dry_run: bool = False
