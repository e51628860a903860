"""Makes, lists and lifts exemptions from the policies of an index. Each change is a commit of its author."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, Protocol

from msgspec.structs import replace

from pkgindex_core.changes import IndexIs, PutIndex
from pkgindex_core.clock import Clock, Timestamp
from pkgindex_core.errors import Missing, Refused
from pkgindex_core.models import IndexConfig
from pkgindex_core.names import IndexName
from pkgindex_core.protocols import IndexWriter, Principal, Trees
from pkgindex_core.rules.access import allowed_index
from pkgindex_core.rules.permissions import Action
from pkgindex_core.rules.policing.exemptions import KEPT_AS, Exemption, as_kept, exemptions_of, parse_purl, purl_of
from pkgindex_core.rules.policing.kinds import KINDS
from pkgindex_core.services.administering.indexes import Indexes
from pkgindex_core.spelling import suggestion
from pkgindex_core.tools.committing import until_committed

_TURNS: Final = 5
_MOST: Final = 1000
_LONGEST: Final = 1000


class _Store(Trees, IndexWriter, Protocol): ...


class Exempting:
    """Changes exemptions. Every method checks the permissions of `principal`."""

    def __init__(self, *, store: _Store, indexes: Indexes, clock: Clock) -> None:
        self._store = store
        self._indexes = indexes
        self._clock = clock

    async def exemptions(self, index: IndexName, *, principal: Principal) -> Sequence[Exemption]:
        """All exemptions of an index, also those that have expired."""
        config = allowed_index(await self._store.tree(), index, principal, Action.INDEX_MODIFY)
        return exemptions_of(config)

    async def exempt(
        self,
        index: IndexName,
        purl: str,
        *,
        reason: str,
        rules: Sequence[str] = (),
        until: Timestamp | None = None,
        principal: Principal,
    ) -> Exemption:
        """Let a package through. An earlier exemption of the same package URL is replaced, and expired ones are dropped."""
        project, version = parse_purl(purl)
        now = self._clock.now()
        problems = [f"there is no rule {rule!r}; {suggestion(rule, KINDS)}" for rule in rules if rule not in KINDS]
        if not reason.strip() or not reason.isprintable() or len(reason) > _LONGEST:
            problems.append(f"an exemption needs a reason: one line of at most {_LONGEST} characters")
        if until is not None and until <= now:
            problems.append("the exemption would have expired already")
        if problems:
            raise Refused(problems)
        made = Exemption(
            purl=purl_of(project, version),
            rules=tuple(dict.fromkeys(rules)),
            reason=reason.strip(),
            by=principal.label,
            at=now,
            until=until,
        )

        def change(before: Sequence[Exemption]) -> list[Exemption]:
            kept = [each for each in before if each.purl != made.purl and each.is_active(now)]
            if len(kept) >= _MOST:
                raise Refused(f"{index} has {len(kept)} exemptions", hint="lift some of them")
            return [*kept, made]

        await self._change(index, change, principal)
        return made

    async def lift(self, index: IndexName, purl: str, *, principal: Principal) -> None:
        """End an exemption. Raises `Missing` if there is none of this package URL."""
        named = purl_of(*parse_purl(purl))

        def change(before: Sequence[Exemption]) -> list[Exemption]:
            kept = [each for each in before if each.purl != named]
            if len(kept) == len(before):
                raise Missing("exemption", named)
            return kept

        await self._change(index, change, principal)

    async def _change(
        self, index: IndexName, change: Callable[[Sequence[Exemption]], list[Exemption]], principal: Principal
    ) -> None:
        async def attempt(_: int) -> None:
            tree = await self._store.tree()
            config = allowed_index(tree, index, principal, Action.INDEX_MODIFY)
            changed = _with(config, change(exemptions_of(config)))
            self._indexes.check_bounds(tree, changed, config)
            await self._store.apply([PutIndex(changed)], who=principal.label, require=[IndexIs(config)])

        await until_committed(attempt, turns=_TURNS)


def _with(config: IndexConfig, exemptions: Sequence[Exemption]) -> IndexConfig:
    options = {key: value for key, value in config.options.items() if key != KEPT_AS}
    return replace(config, options={**options, KEPT_AS: as_kept(exemptions)} if exemptions else options)
