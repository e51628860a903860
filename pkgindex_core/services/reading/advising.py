"""Answers which advisories are about a package, as OSV's API does: from the book of the server and from those of readable indexes.

Anybody who may make an index may publish advisories in it. So those add to what the book says, and hide nothing: of two advisories with one
identifier that hold, the book's is told, and a withdrawn one leaves the others as they are.
A server that never took a feed in does not know, and says so: an empty answer would call every package safe.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec
from msgspec import Struct

from pkgindex_core.errors import Unavailable
from pkgindex_core.formats.advisories import Affecting
from pkgindex_core.models import IndexConfig, Tree
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


class _Own(Struct, frozen=True):
    """The advisories of an index."""

    config: IndexConfig
    by_project: Mapping[ProjectName, Sequence[Advisory]]
    records: Mapping[str, bytes]
    """Encoded, by identifier."""


class Advising:
    """Answers from advisories."""

    def __init__(self, *, store: Trees, book: AdvisoryBook) -> None:
        self._store = store
        self._book = book
        self._tree: Tree | None = None
        self._own: Sequence[_Own] = ()
        """The advisories of the indexes of the latest tree."""

    async def about(self, questions: Sequence[PackageQuestion], *, principal: Principal) -> list[list[Advisory]]:
        """The advisories about each package that hold, in the order of their identifiers. Raises `Unavailable` if nothing was taken in."""
        return [[each for each, _ in found] for found in await self._found(questions, principal)]

    async def records(self, question: PackageQuestion, *, principal: Principal) -> list[bytes]:
        """The records of the same advisories about one package."""
        (found,) = await self._found([question], principal)
        records = (self._book.record(each.id) if own is None else own.records.get(each.id) for each, own in found)
        return [record for record in records if record is not None]

    async def record(self, identifier: str, *, principal: Principal) -> bytes | None:
        """The record with an identifier; None if there is none that the caller may read. The book's counts first, then one that holds."""
        readable = await self._readable(principal)
        self._require_some(bool(readable))
        found = self._book.record(identifier)
        if found is not None:
            return found
        own = [each.records[identifier] for each in readable if identifier in each.records]
        return min(own, key=lambda each: bool(msgspec.json.decode(each).get("withdrawn"))) if own else None

    async def _found(
        self, questions: Sequence[PackageQuestion], principal: Principal
    ) -> list[list[tuple[Advisory, _Own | None]]]:
        """The advisories about each package that hold, each with those of the index that it is from; None: it is from the book."""
        own = await self._readable(principal)
        self._require_some(bool(own))
        answers: list[list[tuple[Advisory, _Own | None]]] = []
        for each in questions:
            found: dict[str, tuple[Advisory, _Own | None]] = {}
            sources: list[tuple[_Own | None, Sequence[Advisory]]] = [
                (None, self._book.about(each.project)),
                *((index, index.by_project.get(each.project, ())) for index in own),
            ]
            for source, advisories in sources:
                for advisory in _that_hold(advisories, each):
                    found.setdefault(advisory.id, (advisory, source))
            answers.append([found[name] for name in sorted(found)])
        return answers

    async def _readable(self, principal: Principal) -> list[_Own]:
        tree = await self._store.tree()
        if tree is not self._tree:
            self._tree, self._own = tree, [_own(each) for _, each in sorted(tree.indexes.items()) if own_records(each)]
        return [each for each in self._own if permits(principal, Action.READ, index=each.config, some_project=True)]

    def _require_some(self, own: bool) -> None:
        if not own and not self._book.revision:
            raise Unavailable(
                _NEVER, hint="take a feed in: pkgindex-serve advisory update FILE, or feed in [plugins.advisories]"
            )


def _own(config: IndexConfig) -> _Own:
    records = {each["id"]: msgspec.json.encode(each) for each in own_records(config)}
    return _Own(config, own_advisories(config), records)


def _that_hold(advisories: Sequence[Advisory], question: PackageQuestion) -> list[Advisory]:
    if question.version:
        return list(Affecting(advisories, question.project).about(question.version)) if advisories else []
    return [each for each in advisories if not each.withdrawn]
