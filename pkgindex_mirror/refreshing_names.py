"""Getting a mirror's project list fresh: ask, read, compare, commit. One call is one flight.

A list of a million names is never a million Python strings: it is read into bytes (`name_lists`), compared with the stored one batch by
batch, and committed in parts. What an upstream changes in a day is one part and one commit. A first list is many; until the
last of them its validators say so (`PARTIAL`), and whoever asks meanwhile, or after the server died half-way, is told that the list is
not known, not that it is short. Parts also let other writers in between.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from concurrent.futures import Executor
from typing import Protocol

from pkgindex_core.changes import MirrorNames
from pkgindex_core.clock import Clock, Timestamp
from pkgindex_core.errors import PkgIndexError
from pkgindex_core.failpoints import failpoint
from pkgindex_core.models import IndexConfig
from pkgindex_core.names import ProjectName
from pkgindex_core.protocols import PARTIAL, IndexWriter, ListedNames, Listing, Projects, Trees
from pkgindex_core.rules.kept_options import mirror_options
from pkgindex_core.tools.workers import in_worker
from pkgindex_mirror import urls
from pkgindex_mirror.checks import Check, Checks
from pkgindex_mirror.differences import NamesMerge, NamesPart
from pkgindex_mirror.markup import Unreadable
from pkgindex_mirror.name_lists import NameListing, NamePile, read_names
from pkgindex_mirror.refreshing import WHO, age, same_upstream
from pkgindex_mirror.settings import MirrorSettings
from pkgindex_mirror.sites import Site
from pkgindex_mirror.upstream import UpstreamClient
from pkgindex_mirror.upstream_answers import Document, Failed, Gone, Unchanged

NAMES = ""
"""Stands for the project list where a project's name stands."""
PART = 10_000
"""Names of one commit."""

_log = logging.getLogger(__name__)


class _Store(Trees, Projects, ListedNames, IndexWriter, Protocol): ...


class RefreshingNames:
    def __init__(
        self,
        *,
        client: UpstreamClient,
        store: _Store,
        clock: Clock,
        workers: Executor,
        settings: MirrorSettings,
        checks: Checks,
    ) -> None:
        self._client = client
        self._store = store
        self._clock = clock
        self._workers = workers
        self._settings = settings
        self._checks = checks

    async def names(self, index: IndexConfig, site: Site) -> Check:
        """Ask for the project list and commit what is new."""
        known = self._checks.get(index, NAMES)
        listing = await self._store.listing(index.name)
        validators = dict(known.validators) if known and known.validators else dict(listing.validators)
        if not listing.is_whole or "url" not in listing.validators:
            # Stored in part: what we know the upstream by is about a list that is not here.
            validators = {}
        elif known is None and (old := self._age(validators, site)) < mirror_options(index).cache_expiry:
            return self._checks.current(index, NAMES, validators, age=old)
        answer = await self._client.document(
            site, site.base, validators=validators, policy=self._settings.names_policy()
        )
        match answer:
            case Failed():
                return self._checks.failed(index, NAMES, answer.reason, lasting=not answer.again, asked=answer.asked)
            case Gone():
                return self._checks.absent(index, NAMES)
            case Unchanged():
                return self._checks.current(index, NAMES, validators)
            case Document():
                return await self._take(index, site, listing, answer)

    async def _take(self, index: IndexConfig, site: Site, listing: Listing, answer: Document) -> Check:
        body, content_type, validators = answer.body, answer.content_type, answer.validators
        read = await in_worker(self._workers, lambda: read_names(body, content_type))
        if isinstance(read, NameListing) and not read.names and listing.count:
            # A list that is suddenly empty is trouble, not news.
            read = Unreadable(f"the project list is empty, {listing.count} names were known")
        if isinstance(read, Unreadable):
            return self._checks.failed(index, NAMES, read.reason, lasting=True)
        for note in read.notes:
            _log.warning("%s: %s", urls.shown(site.base), note)
        try:
            await self._commit(index, read.names, {**validators, "fetched": str(self._clock.now())}, listing)
        except OSError as error:
            return self._checks.failed(index, NAMES, f"the project list could not be stored: {error.strerror}")
        except PkgIndexError as error:
            return self._checks.failed(index, NAMES, f"the project list could not be stored: {error}")
        return self._checks.current(index, NAMES, validators)

    async def _commit(
        self, index: IndexConfig, names: NamePile, validators: Mapping[str, str], listing: Listing
    ) -> None:
        """Commit the difference, its last part together with the validators."""
        # Of a list that was whole before, any mixture of old and new may be seen; it is asked for again if we die.
        meanwhile = {} if listing.is_whole else {PARTIAL: "1"}
        merge = await in_worker(self._workers, lambda: NamesMerge(names, part=PART))
        waiting: NamesPart | None = None

        async def commit(parts: Iterator[NamesPart]) -> None:
            nonlocal waiting
            while (found := await in_worker(self._workers, lambda: next(parts, None))) is not None:
                part = await self._without_held(index, found)
                if not part.put and not part.drop:
                    continue
                if waiting is not None:
                    await self._apply(index, waiting, meanwhile)
                waiting = part

        async for batch in self._store.listed_names(index.name):
            await commit(merge.feed(batch))
        await commit(merge.finish())
        if waiting is not None or not listing.is_whole or listing.validators.get("url") != validators["url"]:
            await self._apply(index, waiting or NamesPart(put=(), drop=()), validators)

    async def _without_held(self, index: IndexConfig, part: NamesPart) -> NamesPart:
        """A name that the upstream dropped stays listed while its page is stored, which is served all the same (as stale)."""
        gone: list[ProjectName] = []
        for name in part.drop:
            (standing,) = await self._store.standings(name, [index.name])
            if not standing.holds:
                gone.append(name)
        return part if len(gone) == len(part.drop) else NamesPart(put=part.put, drop=tuple(gone))

    async def _apply(self, index: IndexConfig, part: NamesPart, validators: Mapping[str, str]) -> None:
        change = MirrorNames(index.name, part.put, part.drop, dict(validators))
        await self._store.apply([change], who=WHO, require=[await same_upstream(self._store, index)])
        failpoint("names.part_committed")

    def _age(self, validators: Mapping[str, str], site: Site) -> float:
        fetched = validators.get("fetched", "")
        return age(
            self._clock, Timestamp(int(fetched)) if fetched.isdigit() else None, validators.get("url"), site.base
        )
