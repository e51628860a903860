"""Refreshing a mirror's pages: ask, read, compare, tell the store. One call is one flight. (The project list: `refreshing_names`.)

The outcome is what `checks` remembers: `current` (the stored page is what the upstream has), `absent`, or `failed`. `readthrough` decides
what it means to a client.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor
from functools import partial
from typing import TYPE_CHECKING, Protocol, TypeVar

from msgspec import Struct

from pkgindex_core.changes import IndexIs, MirrorPage, ProjectAt
from pkgindex_core.clock import Clock, Timestamp
from pkgindex_core.errors import PkgIndexError, Unavailable
from pkgindex_core.failpoints import failpoint
from pkgindex_core.formats.kept_pages import KeptRows
from pkgindex_core.memory import LARGE, give_back
from pkgindex_core.models import File, IndexConfig, Page, Standing
from pkgindex_core.names import ProjectName
from pkgindex_core.protocols import IndexWriter, Projects, Trees
from pkgindex_core.protocols.learning import Learning
from pkgindex_core.rules.kept_options import mirror_options
from pkgindex_core.rules.stamping import stamp_after
from pkgindex_core.tools.committing import until_committed
from pkgindex_core.tools.workers import in_worker
from pkgindex_mirror import urls
from pkgindex_mirror.documents.differences import PART, PageDifference
from pkgindex_mirror.documents.first_seen import seen_times, with_first_seen
from pkgindex_mirror.documents.markup import UnreadablePage
from pkgindex_mirror.documents.plain_pages import ReadPage, read_leniently, read_plain
from pkgindex_mirror.readthrough.checks import Check, Checks, about
from pkgindex_mirror.readthrough.counts import IndexesCounts
from pkgindex_mirror.readthrough.files.stated_sizes import UNLISTED, StatedSizes, lacks_sizes
from pkgindex_mirror.readthrough.noted_checks import ABSENT, Noted, NotedChecks
from pkgindex_mirror.upstreams.sites import Site
from pkgindex_mirror.upstreams.upstream import UpstreamClient
from pkgindex_mirror.upstreams.upstream_answers import AbsentAnswer, Document, Failed, Unchanged

if TYPE_CHECKING:
    from pkgindex_mirror.readthrough.pages.flat_pages import FlatPages

WHO = "[mirror]"
_LARGE = 96 * 1024
"""Bytes from which a page of plain form is read in a worker: about a millisecond of work."""
_LARGE_ODD = 16 * 1024
"""The same for other pages, and for comparing files one by one."""
LEARNED = 5_000
"""Most files of a difference that is learned (shown at once, stored a moment later). A larger one is stored first, in parts."""
_BACKWARDS_LIMIT = 3
_REBUILT = 3600.0
"""Seconds for which an upstream's serial must have been lower in every answer, until it counts as rebuilt. A stale cache in front of it is asked
again by the next client, so a number of answers alone says nothing.
"""

Value = TypeVar("Value")
_log = logging.getLogger(__name__)


class _Store(Trees, Projects, IndexWriter, Learning, Protocol): ...


class _Learned(Struct, frozen=True):
    """The result of telling the store a page."""

    alarms: Sequence[str]
    about: str
    """The page that is shown now, named by `checks.about`."""
    is_new: bool
    """Whether there was any difference."""


class Refreshing:
    def __init__(
        self,
        *,
        client: UpstreamClient,
        store: _Store,
        clock: Clock,
        workers: Executor,
        checks: Checks,
        noted: NotedChecks,
        flat: Callable[[], FlatPages],
        sizes: Callable[[], StatedSizes],
        counts: IndexesCounts,
        offline: bool,
    ) -> None:
        self._client = client
        self._store = store
        self._clock = clock
        self._workers = workers
        self._checks = checks
        self._noted = noted
        self._flat = flat
        self._sizes = sizes
        self._counts = counts
        self._offline = offline

    async def page(
        self, index: IndexConfig, site: Site, project: ProjectName, *, standing: Standing, again: bool = False
    ) -> Check:
        """Ask for one project and tell the store what is new. `standing`: of the stored page; `again`: ask even if it is fresh."""
        known = self._checks.get(index, project)
        what = about(standing.stamp, standing.content)
        validators: Mapping[str, str] = {}
        if standing.holds:
            found = await self._stored_answer(index, site, project, what, known, again=again)
            if isinstance(found, Check):
                return found
            validators = found
        try:
            check = await self._ask_page(
                index, site, project, holds=standing.holds, what=what, validators=validators, known=known, again=again
            )
        except OSError as error:
            check = self._checks.failed(index, project, f"the page could not be stored: {error.strerror}")
        except PkgIndexError as error:
            check = self._checks.failed(index, project, f"the page could not be stored: {error}")
        counts = self._counts[index.name]
        if check.outcome == "current":
            counts.asked["unchanged" if standing.holds and check.about == what else "new"] += 1
        else:
            counts.asked[check.outcome] += 1
        if check.outcome != "failed":
            counts.answered = check.checked
        if check.outcome == "current" and check.validators.get("sizes") == UNLISTED:
            self._sizes().ask(index, site, project)
        return check

    async def _stored_answer(
        self, index: IndexConfig, site: Site, project: ProjectName, what: str, known: Check | None, *, again: bool
    ) -> Check | Mapping[str, str]:
        """An answer that still counts, from before a restart or to another server; otherwise the validators to ask with."""
        url, expiry = site.project_url(project), float(mirror_options(index).cache_expiry)
        noted = None if again else await self._noted.read(index.name, project, about=what)
        if noted is not None and (known is None or known.checked is None or known.checked <= noted.checked):
            old = age(self._clock, noted.checked, noted.validators.get("url"), url)
            if old < self._checks.lifetime(noted.validators, expiry):
                return self._checks.current(
                    index, project, noted.validators, about=what, checked=noted.checked, age=old
                )
        if known is not None and known.validators and known.about == what:
            return known.validators
        if noted is not None:
            return noted.validators
        stored = await self._store.page(index.name, project)
        if stored is None:
            return {}
        fetched, validators = stored.head.fetched, stored.head.validators
        old = age(self._clock, fetched, validators.get("url"), url)
        if known is None and not again and old < self._checks.lifetime(validators, expiry):
            return self._checks.current(index, project, validators, about=what, checked=fetched, age=old)
        return validators

    async def _ask_page(
        self,
        index: IndexConfig,
        site: Site,
        project: ProjectName,
        *,
        holds: bool,
        what: str,
        validators: Mapping[str, str],
        known: Check | None,
        again: bool,
    ) -> Check:
        url = site.project_url(project)
        if self._offline and not holds:
            noted = await self._noted.read(index.name, project, about=ABSENT)
            if noted is not None and noted.validators.get("url") == url:
                return self._checks.absent(index, project, checked=noted.checked)
        if seen_times(index) != validators.get("times", ""):
            validators = {}  # the option or the policies were changed: the page is read again
        if site.is_flat:
            answer = await self._flat().project(site, project, validators=validators, again=again)
        else:
            answer = await self._client.document(site, url, validators=validators)
        backwards = 0
        trusting = mirror_options(index).ignore_serial_header
        if isinstance(answer, Document) and not trusting and _went_backwards(validators, answer):
            # A cache may be behind: ask past it, once. After an hour of such answers the upstream was rebuilt, and its page is taken.
            answer = await self._client.document(site, url, past_caches=True)
            if isinstance(answer, Document) and _went_backwards(validators, answer):
                backwards = (known.backwards if known else 0) + 1
                since = known.backwards_since if known and known.backwards else self._clock.monotonic()
                serials = f"{validators.get('serial')} to {answer.validators.get('serial')}"
                _log.error("%s: the serial went back from %s (time %d)", urls.shown(url), serials, backwards)
                if backwards < _BACKWARDS_LIMIT or self._clock.monotonic() - since < _REBUILT:
                    reason = f"the upstream's serial went back from {serials}"
                    return self._checks.failed(index, project, reason, backwards=backwards, backwards_since=since)
        match answer:
            case Failed():
                return self._checks.failed(index, project, answer.reason, lasting=not answer.again, asked=answer.asked)
            case AbsentAnswer():
                if holds:
                    _log.warning("%s is gone upstream; the stored page is kept", urls.shown(url))
                else:
                    self._noted.write(index.name, project, Noted(self._clock.now(), ABSENT, {"url": url}))
                return self._checks.absent(index, project)
            case Unchanged():
                return self._still_current(index, project, {**validators, **answer.news}, what)
            case Document():
                failpoint("page.fetched")
                return await self._take(index, project, answer)

    async def _take(self, index: IndexConfig, project: ProjectName, answer: Document) -> Check:
        """Read a page and tell the store what is new in it."""
        url, validators, size = answer.url, answer.validators, len(answer.body)
        if lacks_sizes(answer):
            validators["sizes"] = UNLISTED
        page: ReadPage | UnreadablePage | None = await self._compute(
            size, partial(read_plain, answer.body, answer.content_type, url, project), large=_LARGE
        )
        if page is None:
            page = await self._compute(size, partial(read_leniently, answer.take(), answer.content_type, url, project))
        await self._give_back(size)
        if isinstance(page, UnreadablePage):
            return self._checks.failed(index, project, page.reason, lasting=True)
        if times := seen_times(index):
            page = await self._compute(size, partial(with_first_seen, page, project, self._clock.now(), times))
            validators["times"] = times
        failpoint("page.parsed")
        for note in page.listing.notes:
            _log.warning("%s: %s", urls.shown(url), note)
        learned = await self._learn_page(index, project, page, validators, size)
        if isinstance(learned, UnreadablePage):
            return self._checks.failed(index, project, learned.reason, lasting=True)
        for alarm in learned.alarms:
            _log.error("%s: %s", urls.shown(url), alarm)
        failpoint("page.learned")
        if learned.is_new:
            check = self._checks.current(index, project, validators, about=learned.about)
        else:
            check = self._still_current(index, project, validators, learned.about)
        del page
        await self._give_back(size)
        return check

    def _still_current(
        self, index: IndexConfig, project: ProjectName, validators: Mapping[str, str], what: str
    ) -> Check:
        """Note that the upstream has what is stored, since nothing is committed."""
        check = self._checks.current(index, project, validators, about=what)
        self._noted.write(index.name, project, Noted(self._clock.now(), what, dict(validators)))
        return check

    async def _learn_page(
        self, index: IndexConfig, project: ProjectName, page: ReadPage, validators: Mapping[str, str], size: int
    ) -> _Learned | UnreadablePage:
        """Tell the store the difference; a long one is committed in parts. `UnreadablePage` if a doubtful page would drop known files."""
        fetched = self._clock.now()

        async def attempt(_: int) -> _Learned | UnreadablePage:
            standing, stored = await self._stored(index, project)
            if page.listing.doubt and stored is not None and stored.rows:
                return UnreadablePage(f"{page.listing.doubt}; the {len(stored.rows)} known files are kept")
            stamp, content, is_new = standing.stamp, standing.content, False
            difference = PageDifference(stored=stored, listing=page.listing, part=PART, rows=page.rows, by_digest=True)
            changes = difference.changes(index.name, project, validators=validators, fetched=fetched)
            compared = size if stored is not None or page.rows is None else 0
            while (change := await self._compute(compared, partial(next, changes, None))) is not None:
                same = await same_upstream(self._store, index)
                is_new = True
                if change.part == "whole" and len(change.put) + len(change.drop) <= LEARNED:
                    rows = page.rows if page.rows is not None and change.kept == page.rows.digest else None
                    shown = await self._learn(change, same.config, standing, rows)
                    stamp, content = shown.stamp, shown.content
                    continue
                require = (same, ProjectAt(index.name, project, stamp, content))
                commit = await self._store.apply([change], who=WHO, require=require)
                if commit is not None:
                    stamp, content = stamp_after(commit.serial, stamp), ""
                if change.part in {"first", "middle"}:
                    failpoint("page.part_committed")
            return _Learned(difference.alarms, about(stamp, content), is_new)

        return await until_committed(attempt, _restless(project))

    async def amend(
        self, index: IndexConfig, project: ProjectName, changes: Mapping[str, Callable[[File], File]]
    ) -> None:
        """Tell the store the changed entries of files, by filename. Files that are not listed any more do not count."""

        async def attempt(_: int) -> None:
            standing, page = await self._stored(index, project)
            if page is None:
                return
            changed = []
            for filename, change in changes.items():
                file = await self._store.file(index.name, project, filename)
                if file is not None and (now := change(file)) != file:
                    changed.append(now)
            if not changed:
                return
            same = await same_upstream(self._store, index)
            await self._learn(MirrorPage(index.name, project, page.head, tuple(changed)), same.config, standing)

        await until_committed(attempt, _restless(project))

    async def _learn(
        self, change: MirrorPage, index: IndexConfig, seen: Standing, rows: KeptRows | None = None
    ) -> Standing:
        """Tell the store a change; return what is shown now. If another process commits first, the change is dropped and the upstream asked again."""
        lost = partial(self._checks.forget, index.name, change.project)
        return await self._store.learn(change, index=index, seen=seen, who=WHO, lost=lost, rows=rows)

    async def _stored(self, index: IndexConfig, project: ProjectName) -> tuple[Standing, Page | None]:
        """The stored page, and its standing, read first: a change between the two reads is noticed when the difference is stored."""
        (standing,) = await self._store.standings(project, [index.name])
        page = await self._store.page(index.name, project) if standing.holds else None
        return standing, page

    async def _give_back(self, size: int) -> None:
        if size >= LARGE:
            await in_worker(self._workers, give_back)

    async def _compute(self, size: int, function: Callable[[], Value], *, large: int = _LARGE_ODD) -> Value:
        if size < large:
            return function()
        return await in_worker(self._workers, function)


def _restless(project: ProjectName) -> str:
    return f"the page of {project} changes too fast"


async def same_upstream(store: Trees, index: IndexConfig) -> IndexIs:
    """The requirement that the index still has the upstream that was asked. Raises `Unavailable` if it has another one already."""
    config = (await store.tree()).indexes.get(index.name)
    if config is None or mirror_options(config).url != mirror_options(index).url:
        raise Unavailable(f"{index.name} got another upstream meanwhile", retry_after=1)
    return IndexIs(config)


def age(clock: Clock, fetched: Timestamp | None, asked: str | None, url: str) -> float:
    """Seconds since `url` answered with what is stored; infinite if another URL did, or if the time is in the future."""
    if fetched is None or asked != url:
        return math.inf
    seconds = (clock.now() - fetched) / 1_000_000
    return seconds if seconds >= 0 else math.inf


def _went_backwards(validators: Mapping[str, str], answer: Document) -> bool:
    """Whether `X-PyPI-Last-Serial` is smaller than before, at the same URL. It only grows at a sound upstream."""
    old, new = validators.get("serial", ""), answer.validators.get("serial", "")
    return bool(old and new) and validators.get("url") == answer.validators.get("url") and int(new) < int(old)
