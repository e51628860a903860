"""The files on an upstream's HTML page, written by an index, by a web server that lists a directory, or by hand. Pure.

Reads what a browser and pip read. A page without files means a project without files if it names the project, looks like a listing, or
shows nothing at all. An error page or a log-in form shows something else: then the project is unknown. Known files are only dropped
for a page that is certainly this project's listing (`doubt`). Each link to a file that is left out has a note.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final

from pkgindex_core.formats.filenames import kind_of, version_in
from pkgindex_core.models import File
from pkgindex_core.names import ProjectName, normalized_or_none
from pkgindex_mirror import urls
from pkgindex_mirror.documents.markup import Broken, DocumentSummary, Tag, UnreadablePage, outline, tags
from pkgindex_mirror.documents.page_fields import (
    ReadingRemarks,
    core_metadata,
    digests,
    filename_problem,
    gpg_sig,
    provenance,
    text,
)

REPOSITORY_VERSION: Final = "pypi:repository-version"
_ALGORITHM = re.compile(r"(?:^|&)([A-Za-z0-9_]{1,20})=([^&]*)")
_NO_DIGESTS: Final = frozenset({"egg", "subdirectory"})
_SHOWN: Final = 5


class HtmlPage:
    """One page. `files` reads it; `meta`, `problem`, `doubt` and the notes are complete after its last file."""

    def __init__(
        self, document: bytes | bytearray, charset: str, url: str, project: ProjectName, notes: ReadingRemarks
    ) -> None:
        self._document = document
        self._charset = charset
        self._project = project
        self._notes = notes
        self._base = url
        self._others: list[str] = []
        self._other_count = 0
        self._leads_elsewhere = False
        self.meta: dict[str, str] = {}
        self.problem: UnreadablePage | None = None
        self.doubt = ""
        """Why a page without files may not mean that the project has none; empty when it does mean that."""
        for tag in tags(document, charset, {"base"}):
            # HTML 4.2.3: the first `base` with an href counts, for the links before it too. It may be relative.
            if isinstance(tag, Tag) and "href" in tag.attributes:
                self._base = urls.cleaned(urls.as_browsers_read(tag.attributes["href"]), url) or url
                break

    def files(self) -> Iterator[File]:
        count = 0
        broken = ""
        for tag in tags(self._document, self._charset, {"a", "meta"}):
            if isinstance(tag, UnreadablePage):
                self.problem = tag
                return
            if isinstance(tag, Broken):
                broken = f"{tag.what} never ends: its content was left out"
                self._notes.add(broken)
            elif tag.name == "meta":
                self.meta.setdefault(tag.attributes.get("name", "").lower(), tag.attributes.get("content", ""))
            else:
                file = self._file(tag)
                if file is not None:
                    count += 1
                    yield file
        if self._other_count:
            shown = ", ".join(map(repr, self._others))
            more = f" and {self._other_count - _SHOWN} more" if self._other_count > _SHOWN else ""
            self._notes.add(f"links to other things than distribution files were left out: {shown}{more}")
        if count:
            return
        self.doubt = broken
        if REPOSITORY_VERSION not in self.meta:
            first_part = outline(self._document, self._charset)
            self.problem = no_listing(first_part, self._project, leads_elsewhere=self._leads_elsewhere)
            if not (_is_listing(first_part) and _names(first_part, self._project)):
                self.doubt = _about(first_part)

    def _file(self, tag: Tag) -> File | None:
        attributes = tag.attributes
        href = urls.as_browsers_read(attributes.get("href", ""))
        link, _, fragment = href.partition("#")
        filename = next((name for name in (urls.last_segment(link), tag.text) if kind_of(name) != "other"), "")
        if not filename:
            self._pass_over(link)
            return None
        problem = filename_problem(filename)
        url = None if problem else urls.cleaned(link, self._base)
        if url is None:
            self._notes.add(f"{filename[:80]!r} was left out: {problem or urls.problem(link, self._base)}")
            return None
        metadata: Any = attributes.get("data-core-metadata", attributes.get("data-dist-info-metadata"))
        if metadata is not None:
            kind, equals, value = metadata.partition("=")
            metadata = {kind.strip().lower(): value} if equals else metadata.strip().lower() != "false"
        metadata_sha256, offered = core_metadata(metadata, filename)
        yanked = attributes.get("data-yanked")
        signed = attributes.get("data-gpg-sig")
        return File(
            filename=filename,
            version=version_in(filename, self._project),
            digests=self._digests(fragment, filename),
            requires_python=text(attributes.get("data-requires-python")),
            # PEP 592: the attribute alone yanks, whatever it says.
            yanked=False if yanked is None else text(yanked) or True,
            metadata_sha256=metadata_sha256,
            metadata_offered=offered,
            provenance=provenance(attributes.get("data-provenance")),
            gpg_sig=gpg_sig(None if signed is None else signed.strip().lower() == "true"),
            url=url,
        )

    def _digests(self, fragment: str, filename: str) -> dict[str, str]:
        said = {name: digest for name, digest in _ALGORITHM.findall(fragment) if name.lower() not in _NO_DIGESTS}
        found = digests(said)
        if said and not found:
            self._notes.add(f"{filename!r} is listed without its digest, which cannot be read: {fragment[:80]!r}")
        return found

    def _pass_over(self, link: str) -> None:
        """Count a link that is no file, unless it leads to a directory or to the page itself."""
        path = link.partition("?")[0]
        if path and not path.endswith(("/", "..", ".")):
            url = urls.cleaned(link, self._base) or ""
            self._leads_elsewhere = self._leads_elsewhere or not url.startswith(self._base.rpartition("/")[0])
            self._other_count += 1
            if len(self._others) < _SHOWN:
                self._others.append(urls.shown(url)[:80])


_LISTING = re.compile(r"(?:links (?:for|to)|simple (?:index|repository)|index of|directory listing)\b", re.IGNORECASE)
_TROUBLE = re.compile(
    r"\b(?:[45][0-9][0-9]|error|forbidden|denied|unauthorized|not found|gateway|unavailable|maintenance|timed? ?out|blocked"
    r"|captcha|(?:sign|log)(?: |-)?[io]n|welcome)\b",
    re.IGNORECASE,
)
_WORD = re.compile(r"[A-Za-z0-9._-]+")


def no_listing(shown: DocumentSummary, project: str, *, leads_elsewhere: bool = False) -> UnreadablePage | None:
    """Why a page without links to files is not the page of a project without files; None when it is.

    `project` is empty for a project list: then, why a page without links to projects is not an empty list.
    """
    if _is_listing(shown):
        return None
    words = _WORD.findall(f"{' / '.join(shown.headings)} {shown.text[:4096]}")
    # A project may be called `error` or `login`.
    others = [word for word in words if normalized_or_none(word.strip("._-")) != project]
    if not shown.is_markup or _TROUBLE.search(" ".join(others)):
        return UnreadablePage(_about(shown))
    if project and _names(shown, project):
        return None
    if shown.is_active or shown.text or leads_elsewhere or not project:
        return UnreadablePage(_about(shown))
    return None


def _is_listing(shown: DocumentSummary) -> bool:
    return any(_LISTING.match(heading) for heading in shown.headings)


def _names(shown: DocumentSummary, project: str) -> bool:
    """Whether a heading names the project."""
    return any(normalized_or_none(word.strip("._-")) == project for word in _WORD.findall(" / ".join(shown.headings)))


def _about(shown: DocumentSummary) -> str:
    said = (" / ".join(shown.headings) or shown.text)[:80]
    return f"the upstream answered with an HTML page that is no listing: {said!r}"
