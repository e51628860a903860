"""Puts a feed of advisories into a tree, so that bundles carry it over an air gap.

    ROOT/advisories/PyPI.zip      the feed of a server behind the gap, in [plugins.advisories]

The feed is read whole before it takes the place of the one before, because it cannot be mended behind the gap. Equal bytes change nothing, so that a bundle
has the feed only when it is another one.
"""

from __future__ import annotations

import filecmp
import os
import shutil
from pathlib import Path
from typing import Final

from pkgindex_core.clock import SystemClock
from pkgindex_core.engines.advisories.book import FeedCheck
from pkgindex_core.engines.advisories.taking_in import make_book
from pkgindex_core.errors import Refused
from pkgindex_mirror import urls
from pkgindex_mirror.advisories.feed_settings import FeedSettings
from pkgindex_mirror.advisories.feeding import fetch

CARRIED: Final = Path("advisories", "PyPI.zip")
"""Where a tree has its feed."""


async def carry_feed(feed: str, root: Path) -> bool:
    """Put the feed, a URL or a zip file, into a tree; return whether it is another one than before. Raises `Refused`, `Unavailable` and `OSError`."""
    target = root / CARRIED
    target.parent.mkdir(exist_ok=True)
    new, book = target.with_name(".feed.new"), target.with_name(".book.new")
    try:
        if "://" in feed:
            await fetch(FeedSettings(feed=feed), FeedCheck(), new)
        elif Path(feed).is_file():
            shutil.copyfile(feed, new)
        else:
            raise Refused(f"{feed} is no zip file of OSV records", hint="name a zip file or its URL")
        if target.exists() and filecmp.cmp(new, target, shallow=False):
            return False
        make_book(new, book, label=urls.shown(feed), now=SystemClock().now())
        with new.open("rb") as written:
            os.fsync(written.fileno())
        new.replace(target)
        return True
    finally:
        new.unlink(missing_ok=True)
        book.unlink(missing_ok=True)
