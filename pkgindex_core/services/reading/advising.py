"""Answers which advisories are about a package, as OSV's API does: from the book of the server and from those of readable indexes.

A server that never took a feed in does not know, and says so: an empty answer would call every package safe.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec
from msgspec import Struct

from pkgindex_core.errors import Unavailable
from pkgindex_core.formats.advisories import Affecting
from pkgindex_core.models import IndexConfig
from pkgindex_core.names import ProjectName
from pkgindex_core.protocols import Principal, Trees
from pkgindex_core.protocols.advisories import Advisory, AdvisoryBook
from pkgindex_core.rules.permissions import Action, permits
from pkgindex_core.rules.policing.own_advisories import own_advisories, own_records

_NEVER = "no advisories were taken in yet"


class PackageQuestion(Struct, frozen=True):
    """A package, and perhaps one version of it."""

    project: ProjectName
    version: str = ""


class Advising:
    """Answers from advisories."""

    def __init__(self, *, store: Trees, book: AdvisoryBook) -> None:
        self._store = store
        self._book = book

    async def about(self, questions: Sequence[PackageQuestion], *, principal: Principal) -> list[list[Advisory]]:
        """The advisories about each package that hold, in the order of their identifiers. Raises `Unavailable` if nothing was taken in."""
        own = [own_advisories(config) for config in await self._readable(principal)]
        self._require_some(any(own))
        found: list[list[Advisory]] = []
        for each in questions:
            known = {
                advisory.id: advisory
                for source in (self._book.about(each.project), *(index.get(each.project, ()) for index in own))
                for advisory in source
            }
            found.append(_that_hold([known[name] for name in sorted(known)], each))
        return found

    async def record(self, identifier: str, *, principal: Principal) -> bytes | None:
        """The record with an identifier; None if there is none that the caller may read. An index's own counts before the book's."""
        readable = await self._readable(principal)
        for config in readable:
            for record in own_records(config):
                if record["id"] == identifier:
                    return msgspec.json.encode(record)
        self._require_some(any(own_records(config) for config in readable))
        return self._book.record(identifier)

    async def records(self, advisories: Iterable[Advisory], *, principal: Principal) -> list[bytes]:
        """The records of advisories."""
        found = [await self.record(each.id, principal=principal) for each in advisories]
        return [each for each in found if each is not None]

    async def _readable(self, principal: Principal) -> list[IndexConfig]:
        tree = await self._store.tree()
        return [
            config
            for _, config in sorted(tree.indexes.items())
            if own_records(config) and permits(principal, Action.READ, index=config, some_project=True)
        ]

    def _require_some(self, own: bool) -> None:
        if not own and not self._book.revision:
            raise Unavailable(
                _NEVER, hint="take a feed in: pkgindex-serve advisory update FILE, or feed in [plugins.advisories]"
            )


def _that_hold(advisories: Sequence[Advisory], question: PackageQuestion) -> list[Advisory]:
    if question.version:
        return list(Affecting(advisories, question.project).about(question.version)) if advisories else []
    return [each for each in advisories if not each.withdrawn]
