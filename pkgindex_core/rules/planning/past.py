"""How long the past of a mirrored page can be read. Pure.

    a change of what is shown   ─► the live row ends and stays as the past, if the index keeps one (`mirror_history`)
    a later commit in the index ─► rows that ended before the retention are dropped; the oldest remaining row answers for their time

Without a past the live row is changed in place, and answers for all time before. An engine finds the rows (`Facts.expired`), and `plan`
says which of them are dropped.
"""

from __future__ import annotations

from typing import Final

from pkgindex_core.clock import Timestamp
from pkgindex_core.models import IndexConfig

SWEPT: Final = 250
"""Most rows that a commit drops, of each mirrored index that it names. A commit of learned pages ends fewer (`engines.behind`), so the past does not
grow faster than it goes."""


def history(config: IndexConfig | None) -> int:
    """The seconds for which an index keeps the past of its pages."""
    if config is None or not config.mirrored:
        return 0
    seconds = config.options.get("mirror_history", 0)
    return seconds if isinstance(seconds, int) else 0


def kept_since(config: IndexConfig, now: Timestamp) -> Timestamp:
    """The oldest moment as of which pages of an index can be read. `now` is the time of the commit."""
    return Timestamp(now - history(config) * 1_000_000)
