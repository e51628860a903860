"""Publishes, lists and withdraws the advisories that an index has of its own. Each change is a commit of its author."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Protocol

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from pkgindex_core.changes import IndexIs, PutIndex
from pkgindex_core.clock import Clock, from_rfc3339, to_rfc3339
from pkgindex_core.errors import Missing, Refused
from pkgindex_core.formats.advisories import read_advisory
from pkgindex_core.names import IndexName
from pkgindex_core.protocols import IndexWriter, Principal, Trees
from pkgindex_core.protocols.advisories import Advisory
from pkgindex_core.rules.access import allowed_index
from pkgindex_core.rules.permissions import Action
from pkgindex_core.rules.policing.own_advisories import KEPT_AS, as_kept, own_records
from pkgindex_core.services.administering.indexes import Indexes
from pkgindex_core.tools.committing import until_committed

_TURNS: Final = 5
_MOST: Final = 500
_LONGEST: Final = 64 << 10
_TIMES: Final = ("modified", "published", "withdrawn")

Record = Mapping[str, Any]


class _StatedReference(Struct):
    url: str
    kind: str = msgspec.field(name="type")


class _Store(Trees, IndexWriter, Protocol): ...


class OwnAdvisories:
    """Changes the advisories of indexes. Every method checks the permissions of `principal`."""

    def __init__(self, *, store: _Store, indexes: Indexes, clock: Clock) -> None:
        self._store = store
        self._indexes = indexes
        self._clock = clock

    async def listed(self, index: IndexName, *, principal: Principal) -> Sequence[Record]:
        """The OSV records of an index, in the order of their identifiers."""
        return own_records(allowed_index(await self._store.tree(), index, principal, Action.INDEX_MODIFY))

    async def put(self, index: IndexName, record: Record, *, principal: Principal) -> Advisory:
        """Publish an OSV record in an index. One with the same identifier is replaced. Without `modified` it is of now."""
        record = {"modified": to_rfc3339(self._clock.now()), **record}
        written = msgspec.json.encode(record)
        if len(written) > _LONGEST:
            raise Refused(f"the advisory has more than {_LONGEST} bytes")
        advisory = read_advisory(written)
        problems = _problems(record)
        if problems:
            raise Refused(problems, hint="clients cannot read the advisories of an answer with such a record")
        if advisory is None:
            raise Refused(
                "the advisory names no package of PyPI",
                hint='write "affected": [{"package": {"ecosystem": "PyPI", "name": NAME}, "versions": [VERSION]}]',
            )
        identifier = advisory.id

        def change(before: Sequence[Record]) -> list[Record]:
            kept = [each for each in before if each["id"] != identifier]
            if len(kept) >= _MOST:
                raise Refused(f"{index} has {len(kept)} advisories", hint="drop some of them")
            return [*kept, record]

        await self._change(index, change, principal)
        return advisory

    async def drop(self, index: IndexName, identifier: str, *, principal: Principal) -> None:
        """Remove an advisory. Raises `Missing` if the index has none with the identifier."""

        def change(before: Sequence[Record]) -> list[Record]:
            kept = [each for each in before if each["id"] != identifier]
            if len(kept) == len(before):
                raise Missing("advisory", identifier[:80])
            return kept

        await self._change(index, change, principal)

    async def _change(
        self, index: IndexName, change: Callable[[Sequence[Record]], list[Record]], principal: Principal
    ) -> None:
        async def attempt(_: int) -> None:
            tree = await self._store.tree()
            config = allowed_index(tree, index, principal, Action.INDEX_MODIFY)
            records = change(own_records(config))
            options = {key: value for key, value in config.options.items() if key != KEPT_AS}
            changed = replace(config, options={**options, KEPT_AS: as_kept(records)} if records else options)
            self._indexes.check_bounds(tree, changed, config)
            await self._store.apply([PutIndex(changed)], who=principal.label, require=[IndexIs(config)])

        await until_committed(attempt, turns=_TURNS)


def _problems(record: Record) -> list[str]:
    """The parts that OSV's clients cannot read, besides those that `read_advisory` refuses."""
    problems = [
        f"{name} is no time, such as 2026-12-01T10:00:00Z"
        for name in _TIMES
        if (time := record.get(name)) is not None and (not isinstance(time, str) or from_rfc3339(time) is None)
    ]
    try:
        msgspec.convert(record.get("references") or [], list[_StatedReference])
    except msgspec.ValidationError as error:
        problems.append(f"references is a list of objects with type and url: {error}")
    return problems
