"""The page filters of the rules `published-by` and `publisher-change`. Uploads are judged by them too, before anything is kept.

They look at the publisher that is stored with a file (`File.publisher`), which was verified before it was stored. A file without one has no
proof, so `published-by` holds it back.
"""

from __future__ import annotations

from typing import Any

from pkgindex_core.formats.publishers import parse_publisher, parse_publishers
from pkgindex_core.models import File
from pkgindex_core.names import IndexName
from pkgindex_core.protocols.policies import Build
from pkgindex_core.rules.policing.content_rules import ContentFilter
from pkgindex_core.rules.policing.kinds import PUBLISHED_BY, PUBLISHER_CHANGE
from pkgindex_core.rules.policing.policy_filter import Held

__all__ = ["PublishedByFilter", "PublisherChangeFilter", "change_of", "parse_publishers"]


class PublishedByFilter(ContentFilter):
    """Lets files of some publishers pass."""

    rule = PUBLISHED_BY

    def decides(self, value: Any, origin: IndexName, file: File, build: Build) -> Held | None:  # the rule's signature
        if not file.filename:
            return None
        expected = " or ".join(map(str, value))
        if not file.publisher:
            return Held(f"{file.filename} has no verified publisher: expected {expected}, found none")
        found = parse_publisher(file.publisher)
        differences = [each.differences(found) for each in value]
        if not all(differences):
            return None
        said = "; ".join(differences[0]) if len(differences) == 1 else f"expected {expected}, found {found}"
        return Held(f"{file.filename} is of another publisher: {said}")


class PublisherChangeFilter(ContentFilter):
    """Holds files back whose publisher is another one than that of the files before."""

    rule = PUBLISHER_CHANGE

    def decides(self, value: Any, origin: IndexName, file: File, build: Build) -> Held | None:  # the rule's signature
        return Held(change_of(file)) if file.former_publisher else None


def change_of(file: File) -> str:
    """The sentence about a changed publisher."""
    return f"the publisher changed with {file.filename}: expected {file.former_publisher}, found {file.publisher or 'none'}"
