"""Refreshing a mirror's project list: ask, read, compare, commit. One call is one flight.

A list of a million names is never a million Python strings: it is read into bytes (`name_lists`), compared with the stored list in
batches, and committed in parts, between which other writers commit. The changes of a day are one part. A first list has many parts. Until
the last one its validators have the mark `PARTIAL`: if the server dies half-way, the list is unknown and not a short one.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Executor
from typing import TYPE_CHECKING, Protocol

from pkgindex_core.changes import MirrorNames
from pkgindex_core.clock import Clock, Timestamp
from pkgindex_core.errors import PkgIndexError
from pkgindex_core.failpoints import failpoint
from pkgindex_core.memory import LARGE, give_back
from pkgindex_core.models import IndexConfig, Serial
from pkgindex_core.names import ProjectName
from pkgindex_core.protocols import PARTIAL, IndexWriter, ListedNames, Listing, Projects, Trees
from pkgindex_core.rules.kept_options import mirror_options
from pkgindex_core.tools.workers import in_worker
from pkgindex_mirror import urls
from pkgindex_mirror.documents.differences import NamesMerge, NamesPart
from pkgindex_mirror.documents.markup import UnreadablePage
from pkgindex_mirror.documents.name_lists import NameListing, NamePile, read_names
from pkgindex_mirror.readthrough.checks import NAMES, Check, Checks, about
from pkgindex_mirror.readthrough.noted_checks import Noted, NotedChecks
from pkgindex_mirror.readthrough.pages.refreshing import WHO, age, same_upstream
from pkgindex_mirror.settings import MirrorSettings
from pkgindex_mirror.upstreams.sites import Site
from pkgindex_mirror.upstreams.upstream import UpstreamClient
from pkgindex_mirror.upstreams.upstream_answers import AbsentAnswer, Document, Failed, Unchanged

if TYPE_CHECKING:
    from pkgindex_mirror.readthrough.pages.flat_pages import FlatPages

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
        noted: NotedChecks,
        flat: Callable[[], FlatPages],
    ) -> None:
        self._client = client
        self._store = store
        self._clock = clock
        self._workers = workers
        self._settings = settings
        self._checks = checks
        self._noted = noted
        self._flat = flat

    async def names(self, index: IndexConfig, site: Site, *, again: bool = False) -> Check:
        """Ask for the project list and commit what is new. `again`: ask even if the stored list is fresh."""
        known = self._checks.get(index, NAMES)
        listing = await self._store.listing(index.name)
        what = about(listing.stamp)
        validators = dict(listing.validators)
        if not listing.is_whole or "url" not in listing.validators:
            # The list is stored in part, so no validators describe it.
            validators = {}
        else:
            expiry = float(mirror_options(index).cache_expiry)
            old = self._age(validators.get("fetched", ""), validators, site)
            noted = await self._noted.read(index.name, NAMES, about=what)
            if noted is not None:
                validators, old = noted.validators, self._age(str(noted.checked), noted.validators, site)
            still = old < self._checks.lifetime(validators, expiry)
            if (known is None or noted is not None) and still and not again:
                return self._checks.current(index, NAMES, validators, about=what, age=old)
            if known is not None and known.validators and known.about == what:
                validators = dict(known.validators)
        if site.is_flat:
            answer = await self._flat().names(site, validators=validators, again=again)
        else:
            policy = self._settings.names_policy()
            answer = await self._client.document(site, site.base, validators=validators, policy=policy)
        match answer:
            case Failed():
                return self._checks.failed(index, NAMES, answer.reason, lasting=not answer.again, asked=answer.asked)
            case AbsentAnswer():
                return self._checks.absent(index, NAMES)
            case Unchanged():
                return self._still_current(index, {**validators, **answer.news}, what)
            case Document():
                taking = self._take(index, site, listing, answer)
                del answer  # so that the body is freed as soon as it was read
                return await taking

    async def _take(self, index: IndexConfig, site: Site, listing: Listing, answer: Document) -> Check:
        validators, is_large = answer.validators, len(answer.body) >= LARGE
        read = await in_worker(self._workers, read_names, answer.body, answer.content_type)
        del answer
        if isinstance(read, NameListing) and not read.names and listing.count:
            # A list that is suddenly empty is taken for a failure.
            read = UnreadablePage(f"the project list is empty, and {listing.count} names are stored")
        if isinstance(read, UnreadablePage):
            return self._checks.failed(index, NAMES, read.reason, lasting=True)
        for note in read.notes:
            _log.warning("%s: %s", urls.shown(site.base), note)
        try:
            stored = {**validators, "fetched": str(self._clock.now())}
            stamp = await self._commit(index, read.names, stored, listing)
        except OSError as error:
            return self._checks.failed(index, NAMES, f"the project list could not be stored: {error.strerror}")
        except PkgIndexError as error:
            return self._checks.failed(index, NAMES, f"the project list could not be stored: {error}")
        finally:
            del read
            if is_large:
                await in_worker(self._workers, give_back)
        if stamp is None:
            return self._still_current(index, validators, about(listing.stamp))
        return self._checks.current(index, NAMES, validators, about=about(stamp))

    def _still_current(self, index: IndexConfig, validators: Mapping[str, str], what: str) -> Check:
        """Note that the upstream has the stored list, since nothing is committed."""
        self._noted.write(index.name, NAMES, Noted(self._clock.now(), what, dict(validators)))
        return self._checks.current(index, NAMES, validators, about=what)

    async def _commit(
        self, index: IndexConfig, names: NamePile, validators: Mapping[str, str], listing: Listing
    ) -> Serial | None:
        """Commit the difference, the validators with its last part; return the last serial, None when there is no difference."""
        # A list that was whole may be read as a mixture of old and new. Without validators it is asked for again after a kill.
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
        if waiting is None and listing.is_whole and listing.validators.get("url") == validators["url"]:
            return None
        return await self._apply(index, waiting or NamesPart(put=(), drop=()), validators)

    async def _without_held(self, index: IndexConfig, part: NamesPart) -> NamesPart:
        """The part, without dropping names whose pages are stored: those pages are still served (as stale)."""
        gone: list[ProjectName] = []
        for name in part.drop:
            (standing,) = await self._store.standings(name, [index.name])
            if not standing.holds:
                gone.append(name)
        return part if len(gone) == len(part.drop) else NamesPart(put=part.put, drop=tuple(gone))

    async def _apply(self, index: IndexConfig, part: NamesPart, validators: Mapping[str, str]) -> Serial | None:
        change = MirrorNames(index.name, part.put, part.drop, dict(validators))
        commit = await self._store.apply([change], who=WHO, require=[await same_upstream(self._store, index)])
        failpoint("names.part_committed")
        return commit.serial if commit is not None else None

    def _age(self, checked: str, validators: Mapping[str, str], site: Site) -> float:
        return age(
            self._clock, Timestamp(int(checked)) if checked.isdigit() else None, validators.get("url"), site.base
        )
