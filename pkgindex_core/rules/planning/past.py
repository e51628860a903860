"""How long the past of a mirrored page can be read. Pure.

    a change of what is shown   ─► the live row ends and stays as the past, if the index keeps one (`mirror_history`)
    a later commit in the index ─► rows that ended before the retention are dropped; the oldest remaining row answers for their time

Snapshots of an index keep it too: since the oldest one, however long that is. They are in the option `mirror_snapshots`, which programs write
with `PutIndex`.

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


SNAPSHOTS: Final = "mirror_snapshots"
"""The option with the snapshots of a mirror: a mapping, of which `kept` lists them, each with the time `created`."""


NO_SNAPSHOT: Final = 2**63 - 1


def keeps_past(config: IndexConfig | None) -> bool:
    """Whether an index keeps the past of its pages."""
    return config is not None and config.mirrored and bool(_history(config) or snapshots(config, "created"))


def kept_since(config: IndexConfig, now: Timestamp) -> Timestamp:
    """The oldest moment as of which pages of an index can be read. `now` is the time of the commit."""
    seconds, oldest = retention(config)
    return Timestamp(min(now - seconds * 1_000_000, oldest))


def retention(config: IndexConfig) -> tuple[int, int]:
    """The seconds for which the past of pages is kept, and the moment since which it is kept for snapshots; `NO_SNAPSHOT` without one."""
    # Commits of one microsecond are before and after a snapshot that was taken in it.
    return _history(config), min((created - 1 for created in snapshots(config, "created")), default=NO_SNAPSHOT)


def _history(config: IndexConfig) -> int:
    seconds = config.options.get("mirror_history", 0)
    return seconds if isinstance(seconds, int) else 0


def snapshots(config: IndexConfig, key: str) -> list[int]:
    """The numbers that the snapshots of an index have under a key; an option that cannot be read has none."""
    found = config.options.get(SNAPSHOTS)
    kept = found.get("kept") if isinstance(found, dict) else None
    each_kept = [each for each in kept if isinstance(each, dict)] if isinstance(kept, list) else []
    return [each[key] for each in each_kept if isinstance(each.get(key), int)]
