"""Flat pages: one HTML page with links to files of any projects, as for `pip install --find-links URL`, answered as an index would.

    the page ─ one request for all projects ─► parts, one for each project ─► the part as a document of its own

A part has the links of one project as they are on the page. Its ETag names its bytes, so that a project is unchanged when other parts of
the page change. A project without links is absent, since the page is whole. A page without any link to a file may be an error page: then
all projects are unknown.
"""

from __future__ import annotations

import hashlib
import html
from collections.abc import Mapping
from concurrent.futures import Executor
from functools import partial
from typing import Final

from msgspec import Struct

from pkgindex_core.clock import Clock
from pkgindex_core.formats.filenames import candidate_projects, kind_of
from pkgindex_core.names import ProjectName
from pkgindex_core.tools.bounded_cache import BoundedCache
from pkgindex_core.tools.single_flight import SingleFlight
from pkgindex_core.tools.tasks import Tasks
from pkgindex_core.tools.workers import in_worker
from pkgindex_mirror import urls
from pkgindex_mirror.documents.document_kinds import is_json
from pkgindex_mirror.documents.markup import Broken, UnreadablePage, as_text, tags
from pkgindex_mirror.upstreams.sites import Site
from pkgindex_mirror.upstreams.upstream import UpstreamClient
from pkgindex_mirror.upstreams.upstream_answers import AbsentAnswer, Document, Failed, Unchanged, unusable

REUSED: Final = 60.0
"""Seconds for which a page is used for further projects without a question: an installer asks for its projects in less."""
_KEPT_BYTES: Final = 64 * 1024 * 1024
_ATTRIBUTES: Final = frozenset(
    {
        "href",
        "data-core-metadata",
        "data-dist-info-metadata",
        "data-gpg-sig",
        "data-provenance",
        "data-requires-python",
        "data-yanked",
    }
)
"""The attributes of links that have a meaning (`html_pages`)."""
_Place = tuple[str, str, bool]
_TYPE: Final = "text/html; charset=utf-8"


class SplitPage(Struct, kw_only=True):
    """A flat page, split."""

    url: str
    """Its URL after redirects, to which links are relative."""
    parts: Mapping[ProjectName, bytes]
    """The links of each project, as a document."""
    validators: Mapping[str, str]
    asked: float
    """Monotonic time of the last question."""

    @property
    def size(self) -> int:
        return sum(map(len, self.parts.values()))


class FlatPages:
    """Asks for flat pages. `tasks` are those of the owner."""

    def __init__(self, client: UpstreamClient, *, clock: Clock, workers: Executor, tasks: Tasks) -> None:
        self._client = client
        self._clock = clock
        self._workers = workers
        self._pages: BoundedCache[_Place, SplitPage] = BoundedCache(_KEPT_BYTES, size_of=lambda page: page.size)
        self._flights: SingleFlight[SplitPage | AbsentAnswer | Failed] = SingleFlight(tasks)

    async def project(
        self, site: Site, project: ProjectName, *, validators: Mapping[str, str], again: bool
    ) -> Document | Unchanged | AbsentAnswer | Failed:
        """A project, as `UpstreamClient.document` answers. `again`: ask the upstream even if the page was read just now."""
        page = await self._page(site, again=again)
        if not isinstance(page, SplitPage):
            return page
        part = page.parts.get(project)
        if part is None:
            return AbsentAnswer(404)
        return _answer(part, page.url, site.project_url(project), validators)

    async def names(
        self, site: Site, *, validators: Mapping[str, str], again: bool
    ) -> Document | Unchanged | AbsentAnswer | Failed:
        """The projects with links, as a list of projects."""
        page = await self._page(site, again=again)
        if not isinstance(page, SplitPage):
            return page
        links = "".join(f'<a href="{name}/">{name}</a>\n' for name in sorted(page.parts))
        return _answer(_document("Simple index", links.encode()), page.url, site.base, validators)

    async def _page(self, site: Site, *, again: bool) -> SplitPage | AbsentAnswer | Failed:
        known = self._pages.get(_place(site))
        if known is not None and not again and self._clock.monotonic() < known.asked + REUSED:
            return known
        return await self._flights.get(_place(site), lambda: self._ask(site))

    async def _ask(self, site: Site) -> SplitPage | AbsentAnswer | Failed:
        known, asked = self._pages.get(_place(site)), self._clock.monotonic()
        answer = await self._client.document(site, site.base, validators=known.validators if known else None)
        match answer:
            case Unchanged() if known is not None:
                known.asked = asked
                return known
            case Document():
                return await self._split(site, answer, asked)
            case AbsentAnswer() | Failed():
                return answer
            case _:
                return unusable("it answered 304 to an unconditional request", again=True)

    async def _split(self, site: Site, answer: Document, asked: float) -> SplitPage | Failed:
        if is_json(answer.body, answer.content_type):
            return unusable("it answered with JSON, and a page of links is HTML")
        url = answer.url
        parts = await in_worker(self._workers, partial(split, answer.take(), answer.content_type))
        if isinstance(parts, str):
            return unusable(parts)
        page = SplitPage(url=url, parts=parts, validators=answer.validators, asked=asked)
        self._pages.put(_place(site), page)
        return page


def split(body: bytes, content_type: str) -> Mapping[ProjectName, bytes] | str:
    """The links of each project as a document; the problem if the page cannot be read or has no links to files. Pure."""
    document, charset = as_text(body, content_type)
    base = ""
    links: dict[ProjectName, list[bytes]] = {}
    for tag in tags(document, charset, {"a", "base"}):
        if isinstance(tag, UnreadablePage):
            return f"it answered with a page that cannot be read: {tag.reason}"
        if isinstance(tag, Broken):  # links in it may be missing, and their projects are not absent
            return f"it answered with a page in which {tag.what} never ends"
        if tag.name == "base":
            base = base or _element("base", {"href": tag.attributes.get("href", "")})
            continue
        href = urls.as_browsers_read(tag.attributes.get("href", "")).partition("#")[0]
        filename = next((name for name in (urls.last_segment(href), tag.text) if kind_of(name) != "other"), "")
        project = next(iter(candidate_projects(filename)), None) if filename else None
        if project is not None:
            said = {name: value for name, value in tag.attributes.items() if name in _ATTRIBUTES}
            links.setdefault(project, []).append(f"{_element('a', said)}{html.escape(tag.text)}</a>\n".encode())
    if not links:
        return "it answered with a page without links to files"
    head = base.encode()
    return {project: _document(f"Links for {project}", head + b"".join(each)) for project, each in links.items()}


def _place(site: Site) -> _Place:
    """The key of a page: another mirror of the same URL may have other credentials, or may not reach private addresses."""
    return site.base, site.authorization, site.trusted


def _element(name: str, attributes: Mapping[str, str]) -> str:
    said = "".join(f' {key}="{html.escape(value)}"' for key, value in attributes.items())
    return f"<{name}{said}>"


def _document(title: str, links: bytes) -> bytes:
    head = f'<!DOCTYPE html>\n<html><head><meta name="pypi:repository-version" content="1.0"><title>{title}</title></head>\n'
    return head.encode() + f"<body><h1>{title}</h1>\n".encode() + links + b"</body></html>\n"


def _answer(part: bytes, url: str, asked: str, validators: Mapping[str, str]) -> Document | Unchanged:
    tag = f'"{hashlib.sha256(part).hexdigest()[:32]}"'
    if validators.get("url") == asked and validators.get("etag") == tag:
        return Unchanged()
    return Document(body=part, content_type=_TYPE, url=url, validators={"url": asked, "etag": tag}, received=len(part))
