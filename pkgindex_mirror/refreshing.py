"""Getting a mirror's pages fresh: ask, read, compare, tell the store. One call is one flight. (The project list: `refreshing_names`.)

The outcome is what `checks` remembers: `current` (what is stored is what the upstream has), `absent`, `failed`. What that means
to a client who is told depends on whether anything is stored, and is decided in `readthrough`.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor
from functools import partial
from typing import Protocol, TypeVar

from pkgindex_core.changes import IndexIs, MirrorPage, ProjectAt
from pkgindex_core.clock import Clock, Timestamp
from pkgindex_core.errors import PkgIndexError, Unavailable
from pkgindex_core.failpoints import failpoint
from pkgindex_core.memory import LARGE, give_back
from pkgindex_core.models import File, IndexConfig, Page, Standing
from pkgindex_core.names import ProjectName
from pkgindex_core.protocols import IndexWriter, Projects, Trees
from pkgindex_core.protocols.learning import Learning
from pkgindex_core.rules.kept_options import mirror_options
from pkgindex_core.rules.stamping import stamp_after
from pkgindex_core.tools.committing import until_committed
from pkgindex_mirror import urls
from pkgindex_mirror.checks import Check, Checks
from pkgindex_mirror.differences import PART, PageDifference
from pkgindex_mirror.markup import Unreadable
from pkgindex_mirror.plain_pages import ReadPage, read_leniently, read_plain
from pkgindex_mirror.sites import Site
from pkgindex_mirror.upstream import UpstreamClient
from pkgindex_mirror.upstream_answers import Document, Failed, Gone, Unchanged

WHO = "[mirror]"
_LARGE = 96 * 1024
"""Pages of plain form beyond this are read in a worker: about a millisecond of the loop's time."""
_LARGE_ODD = 16 * 1024
"""The same of other pages, and of comparing files one by one."""
LEARNED = 5_000
"""Files of a difference that is shown at once and stored behind; a larger one is stored first, in parts if need be."""
_BACKWARDS_LIMIT = 3

Value = TypeVar("Value")
_log = logging.getLogger(__name__)


class _Store(Trees, Projects, IndexWriter, Learning, Protocol): ...


class Refreshing:
    def __init__(
        self,
        *,
        client: UpstreamClient,
        store: _Store,
        clock: Clock,
        workers: Executor,
        checks: Checks,
    ) -> None:
        self._client = client
        self._store = store
        self._clock = clock
        self._workers = workers
        self._checks = checks

    async def page(
        self, index: IndexConfig, site: Site, project: ProjectName, *, holds: bool, again: bool = False
    ) -> Check:
        """Ask for one project and tell the store what is new. `holds`: a page is stored; `again`: ask, however new it is."""
        known = self._checks.get(index, project)
        validators = dict(known.validators) if known else {}
        if holds and not validators:
            stored = await self._store.page(index.name, project)
            if stored is not None:
                validators = dict(stored.head.validators)
                fetched = stored.head.fetched
                old = age(self._clock, fetched, validators.get("url"), site.project_url(project))
                lasting = mirror_options(index).cache_expiry
                if known is None and not again and old < lasting:  # a restart within the expiry
                    return self._checks.current(index, project, validators, checked=fetched, age=old)
        try:
            return await self._ask_page(
                index, site, project, holds=holds, validators=validators if holds else {}, known=known
            )
        except OSError as error:
            return self._checks.failed(index, project, f"the page could not be stored: {error.strerror}")
        except PkgIndexError as error:
            return self._checks.failed(index, project, f"the page could not be stored: {error}")

    async def _ask_page(
        self,
        index: IndexConfig,
        site: Site,
        project: ProjectName,
        *,
        holds: bool,
        validators: dict[str, str],
        known: Check | None,
    ) -> Check:
        url = site.project_url(project)
        answer = await self._client.document(site, url, validators=validators)
        backwards = 0
        trusting = mirror_options(index).ignore_serial_header
        if isinstance(answer, Document) and not trusting and _went_backwards(validators, answer):
            # An edge cache may be behind: ask past it, once. If that stays so the upstream was rebuilt, and is believed again.
            answer = await self._client.document(site, url, past_caches=True)
            if isinstance(answer, Document) and _went_backwards(validators, answer):
                backwards = (known.backwards if known else 0) + 1
                serials = f"{validators.get('serial')} to {answer.validators.get('serial')}"
                _log.error("%s: the serial went back from %s (time %d)", urls.shown(url), serials, backwards)
                if backwards < _BACKWARDS_LIMIT:
                    reason = f"the upstream's serial went back from {serials}"
                    return self._checks.failed(index, project, reason, backwards=backwards)
        match answer:
            case Failed():
                return self._checks.failed(index, project, answer.reason, lasting=not answer.again, asked=answer.asked)
            case Gone():
                if holds:
                    _log.warning("%s is gone upstream; what is stored is kept", urls.shown(url))
                return self._checks.absent(index, project)
            case Unchanged():
                return self._checks.current(index, project, validators)
            case Document():
                failpoint("page.fetched")
                return await self._take(index, project, answer)

    async def _take(self, index: IndexConfig, project: ProjectName, answer: Document) -> Check:
        """Read a page and tell the store what is new in it."""
        url, validators, size = answer.url, answer.validators, len(answer.body)
        page: ReadPage | Unreadable | None = await self._compute(
            size, partial(read_plain, answer.body, answer.content_type, url, project), large=_LARGE
        )
        if page is None:
            page = await self._compute(size, partial(read_leniently, answer.take(), answer.content_type, url, project))
        await self._give_back(size)
        if isinstance(page, Unreadable):
            return self._checks.failed(index, project, page.reason, lasting=True)
        failpoint("page.parsed")
        for note in page.listing.notes:
            _log.warning("%s: %s", urls.shown(url), note)
        alarms = await self._learn_page(index, project, page, validators, size)
        if isinstance(alarms, Unreadable):
            return self._checks.failed(index, project, alarms.reason, lasting=True)
        for alarm in alarms:
            _log.error("%s: %s", urls.shown(url), alarm)
        failpoint("page.learned")
        check = self._checks.current(index, project, validators)
        del page
        await self._give_back(size)
        return check

    async def _learn_page(
        self, index: IndexConfig, project: ProjectName, page: ReadPage, validators: Mapping[str, str], size: int
    ) -> Sequence[str] | Unreadable:
        """Tell the store the difference, and commit a long one at once, in parts; return the alarms. `Unreadable`: files are known, and the page may
        be no listing.
        """
        fetched = self._clock.now()

        async def attempt(_: int) -> Sequence[str] | Unreadable:
            standing, stored = await self._stored(index, project)
            if page.listing.doubt and stored is not None and stored.rows:
                return Unreadable(f"{page.listing.doubt}; the {len(stored.rows)} known files are kept")
            stamp, content = standing.stamp, standing.content
            difference = PageDifference(stored=stored, listing=page.listing, part=PART, rows=page.rows)
            changes = difference.changes(index.name, project, validators=validators, fetched=fetched)
            compared = size if stored is not None or page.rows is None else 0
            while (change := await self._compute(compared, partial(next, changes, None))) is not None:
                same = await same_upstream(self._store, index)
                if change.part == "whole" and len(change.put) + len(change.drop) <= LEARNED:
                    await self._learn(change, same.config, standing)
                    continue
                require = (same, ProjectAt(index.name, project, stamp, content))
                commit = await self._store.apply([change], who=WHO, require=require)
                if commit is not None:
                    stamp, content = stamp_after(commit.serial, stamp), ""
                if change.part in {"first", "middle"}:
                    failpoint("page.part_committed")
            return difference.alarms

        return await until_committed(attempt, _restless(project))

    async def amend(
        self, index: IndexConfig, project: ProjectName, filename: str, change: Callable[[File], File]
    ) -> None:
        """Tell the store what we learned of one file. A file that is no longer listed needs nothing."""

        async def attempt(_: int) -> None:
            standing, page = await self._stored(index, project)
            file = await self._store.file(index.name, project, filename)
            if page is None or file is None:
                return
            changed = change(file)
            if changed == file:
                return
            same = await same_upstream(self._store, index)
            await self._learn(MirrorPage(index.name, project, page.head, (changed,)), same.config, standing)

        await until_committed(attempt, _restless(project))

    async def _learn(self, change: MirrorPage, index: IndexConfig, seen: Standing) -> None:
        """Tell the store. A change that loses the race against another process is dropped, and the upstream is asked again."""
        lost = partial(self._checks.forget, index.name, change.project)
        await self._store.learn(change, index=index, seen=seen, who=WHO, lost=lost)

    async def _stored(self, index: IndexConfig, project: ProjectName) -> tuple[Standing, Page | None]:
        """The page and a standing that is not newer: a change between the two reads is found out."""
        (standing,) = await self._store.standings(project, [index.name])
        page = await self._store.page(index.name, project) if standing.holds else None
        return standing, page

    async def _give_back(self, size: int) -> None:
        if size >= LARGE:
            await asyncio.get_running_loop().run_in_executor(self._workers, give_back)

    async def _compute(self, size: int, function: Callable[[], Value], *, large: int = _LARGE_ODD) -> Value:
        if size < large:
            return function()
        return await asyncio.get_running_loop().run_in_executor(self._workers, function)


def _restless(project: ProjectName) -> str:
    return f"the page of {project} is changed by somebody else all the time"


async def same_upstream(store: Trees, index: IndexConfig) -> IndexIs:
    """That the index still has the upstream that was asked: an answer of the one before is not committed any more."""
    config = (await store.tree()).indexes.get(index.name)
    if config is None or mirror_options(config).url != mirror_options(index).url:
        raise Unavailable(f"{index.name} was pointed elsewhere meanwhile", retry_after=1)
    return IndexIs(config)


def age(clock: Clock, fetched: Timestamp | None, asked: str | None, url: str) -> float:
    """Seconds since a URL answered with what is stored; without end when another one did, or at a time that is still to come."""
    if fetched is None or asked != url:
        return math.inf
    seconds = (clock.now() - fetched) / 1_000_000
    return seconds if seconds >= 0 else math.inf


def _went_backwards(validators: dict[str, str], answer: Document) -> bool:
    """`X-PyPI-Last-Serial` only grows; comparable only at the same URL."""
    old, new = validators.get("serial", ""), answer.validators.get("serial", "")
    return bool(old and new) and validators.get("url") == answer.validators.get("url") and int(new) < int(old)
