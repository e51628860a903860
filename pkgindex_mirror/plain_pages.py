"""An upstream's JSON page read in one pass, when all of it has the plain form that nearly every page has. Pure.

    body ─ one typed decode ─► entries ─ checked, links made ours, in place ─► one encode ─► the page in one piece (`kept_pages`)

Plain: sidecars announced as `core-metadata` or not at all, a sha256 and no other digest, filenames of letters, digits and `._+!-`, times as
we write them, each name once. What is not plain gives None for the page, and `pages.read_page` reads it leniently. Both read the
same out of a plain page, byte for byte; a law in the tests says so.
"""

from __future__ import annotations

import codecs
from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any, Final

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType
from msgspec.structs import replace

from pkgindex_core.formats.filenames import USUAL_VERSION, leads_to, version_in
from pkgindex_core.formats.kept_pages import MOST_FILES, Hidden, KeptRows, keep, pack
from pkgindex_core.formats.versions import listed_versions, version_ranks
from pkgindex_core.names import ProjectName, normalized_or_none
from pkgindex_mirror import urls
from pkgindex_mirror.differences import versions_without_files
from pkgindex_mirror.markup import Unreadable
from pkgindex_mirror.page_fields import FILENAME_LIMIT, TEXT_LIMIT, Notes, provenance, text
from pkgindex_mirror.pages import PageListing, is_json, read_page, said_of, versions_of

KEPT_BYTES: Final = 4 << 20
"""Bytes of a page that is kept in one piece. A longer one is kept in segments, and a change of it costs what it changes."""

_HEXADECIMAL: Final = b"0123456789abcdef"
_NAME_MARKS: Final = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._+!-"
"""Of these a filename is itself in a URL (`fragments.quoted`)."""
_OLDER_KEY: Final = b"dist-info-metadata"
"""Part of what `core-metadata` was called before (PEP 714), PyPI's spelling with `data-` included."""
_MOMENT: Final = "2024-02-29T10:11:12.345678Z"
_SECOND: Final = "2024-02-29T10:11:12Z"
_DIGITS: Final = b"0123456789"
_NO_MICROSECONDS: Final = ".000000Z"
_WHEEL_DASHES: Final = frozenset({3, 4})
"""Behind the name of a wheel's file."""
_FIRST: Final = "1000"
_NEVER: Final = "9999"
"""Of this year some moments are too late for clients (`page_fields.upload_time`)."""


class _Digest(Struct, forbid_unknown_fields=True, gc=False):
    sha256: Annotated[str, Meta(min_length=64, max_length=64)]


class _Entry(Struct, rename="kebab", omit_defaults=True, gc=False):
    """A file as the upstream lists it, and then as we do: the keys stand in the order of `fragments.fragment`."""

    url: Annotated[str, Meta(max_length=urls.URL_LIMIT)]
    filename: Annotated[str, Meta(min_length=1, max_length=FILENAME_LIMIT)]
    hashes: _Digest
    requires_python: Annotated[str, Meta(max_length=TEXT_LIMIT)] | None = None
    size: Annotated[int, Meta(ge=0, le=2**63 - 1)] | None = None
    upload_time: str | None = None
    yanked: bool | str = False
    core_metadata: _Digest | bool | UnsetType = UNSET
    gpg_sig: bool | None = None
    provenance: str | None = None


class _Page(Struct, rename="kebab"):
    files: list[_Entry]
    meta: Any = None
    name: Any = None
    versions: Any = None
    project_status: Any = None


_decode = msgspec.json.Decoder(_Page).decode
_encode = msgspec.json.Encoder().encode


class ReadPage(Struct, frozen=True):
    """What an upstream's page says."""

    listing: PageListing
    rows: KeptRows | None
    """Its files in one piece, unless it is a long page."""


def read_leniently(body: bytes, content_type: str, url: str, project: ProjectName) -> ReadPage | Unreadable:
    """Read a page of any form."""
    listing = read_page(body, content_type, url, project)
    if isinstance(listing, Unreadable):
        return listing
    if len(body) > KEPT_BYTES or len(listing.files) > MOST_FILES:
        return ReadPage(listing, None)
    rows = keep(project, listing.files)
    return ReadPage(listing, rows if rows.is_ordinary else None)


def read_plain(body: bytes, content_type: str, url: str, project: ProjectName) -> ReadPage | None:
    """Read a page of plain form in one pass; None when it must be read leniently.

    The listing has no files, and of the versions those that have none.
    """
    if len(body) > KEPT_BYTES:
        return None
    if not is_json(body, content_type):
        return None
    try:
        page = _decode(body.removeprefix(codecs.BOM_UTF8))
    except (msgspec.DecodeError, RecursionError):
        return None
    notes = Notes()
    said = said_of(page, (), project, notes)
    if isinstance(said, Unreadable) or len(page.files) > MOST_FILES:
        return None
    filenames = [each.filename for each in page.files]
    links = _links([each.url for each in page.files], url)
    if links is None or not _have_plain_names(filenames) or not _have_plain_fields(page.files):
        return None
    if _OLDER_KEY in body and any(each.core_metadata is UNSET for each in page.files):
        return None  # announced under an older key, perhaps
    names = _Names(project)
    versions = names.versions(filenames)
    _make_ours(page.files)
    ranks = version_ranks(set(versions))
    ordered = sorted(zip(map(ranks.__getitem__, versions), filenames, versions, links, page.files, strict=True))
    rows = pack(
        _encode([entry for *_, entry in ordered]),
        [Hidden(version, link) for _, _, version, link, _ in ordered],
        listed_versions(ranks),
        [filename for _, filename, *_ in ordered if filename in names.strays],
    )
    if not rows.is_ordinary:
        return None
    listed = page.versions if isinstance(page.versions, list) else []
    others = versions_of([each for each in listed if isinstance(each, str) and each not in ranks])
    bare = versions_without_files(others, ranks)
    return ReadPage(replace(said, versions=bare, notes=notes.lines()), rows)


def _have_plain_names(filenames: Sequence[str]) -> bool:
    """Whether `page_fields.filename_problem` finds none, and each is there once."""
    return (
        len(set(filenames)) == len(filenames)
        and _consist_of(filenames, _NAME_MARKS)
        and not any(each.startswith(".") for each in filenames)
    )


def _have_plain_fields(entries: Sequence[_Entry]) -> bool:
    sidecars = [each.core_metadata for each in entries]
    digests = [each.hashes.sha256 for each in entries]
    digests += [each.sha256 for each in sidecars if isinstance(each, _Digest)]
    moments = [each.upload_time for each in entries if each.upload_time is not None]
    return _consist_of(digests, _HEXADECIMAL) and _are_plain_moments(moments)


def _are_plain_moments(moments: Sequence[str]) -> bool:
    """Whether times are written as `clock.to_rfc3339` does, but for zero microseconds. Together they are told much faster than each."""
    whole = [each for each in moments if len(each) == len(_SECOND)]
    return _are_moments(whole, _SECOND) and _are_moments(
        moments if not whole else [each for each in moments if len(each) != len(_SECOND)], _MOMENT
    )


def _are_moments(moments: Sequence[str], form: str) -> bool:
    """Whether times differ from an example in their digits alone, and are times."""
    if not moments:
        return True
    if {len(each) for each in moments} != {len(form)} or min(moments) < _FIRST or max(moments) >= _NEVER:
        return False
    text = "".join(moments)
    marks = form.encode().translate(None, _DIGITS)
    if "T24" in text or not text.isascii() or text.encode().translate(None, _DIGITS) != marks * len(moments):
        return False
    try:
        return all(map(datetime.fromisoformat, moments))
    except ValueError:
        return False


def _links(links: Sequence[str], base: str) -> Sequence[str] | None:
    """Absolute URLs; None when one is nothing to fetch. Those of a page mostly lead to one place."""
    start = urls.plain_start(links[0]) if links else ""
    if start and all(each.startswith(start) for each in links) and _consist_of(links, urls.PLAIN_MARKS):
        return links
    cleaned = [urls.cleaned(each, base) for each in links]
    absolute = [each for each in cleaned if each is not None]
    return absolute if len(absolute) == len(links) else None


def _consist_of(texts: Sequence[str], marks: bytes) -> bool:
    text = "".join(texts)
    return text.isascii() and not text.encode().translate(None, marks)


def _make_ours(entries: Sequence[_Entry]) -> None:
    """Rewrite the upstream's entries as we list them."""
    requirements: dict[str, str | None] = {}
    for entry in entries:
        sha256 = entry.hashes.sha256
        filename = entry.filename
        entry.url = f"+f/{sha256[:3]}/{sha256[3:16]}/{filename}"
        requirement = entry.requires_python
        if requirement is not None:
            if requirement not in requirements:
                requirements[requirement] = text(requirement) or None
            entry.requires_python = requirements[requirement]
        if entry.core_metadata is False or entry.core_metadata is UNSET:
            entry.core_metadata = True if filename.lower().endswith(".whl") else UNSET  # every wheel has one
        if entry.yanked is not False and entry.yanked is not True:
            entry.yanked = text(entry.yanked) or False
        if entry.gpg_sig:
            entry.gpg_sig = None
        if entry.provenance is not None:
            entry.provenance = provenance(entry.provenance) or None
        if entry.upload_time is not None and entry.upload_time.endswith(_NO_MICROSECONDS):
            entry.upload_time = entry.upload_time.removesuffix(_NO_MICROSECONDS) + "Z"


class _Names:
    """What the filenames of one project say. Names as they are written today are read at once."""

    def __init__(self, project: ProjectName) -> None:
        self._project = project
        self._is_ours: dict[str, bool] = {}
        self._usual: set[str] = set()
        self.strays: set[str] = set()

    def versions(self, filenames: Sequence[str]) -> list[str]:
        """The versions that names spell (`version_in`). Remembers the names that do not lead to the project."""
        is_ours, usual = self._is_ours, self._usual
        versions = []
        for filename in filenames:
            name, _, rest = filename.partition("-")
            if name not in is_ours:
                is_ours[name] = normalized_or_none(name) == self._project
            if is_ours[name]:
                if rest.endswith(".whl") and rest.count("-") in _WHEEL_DASHES:
                    versions.append(rest.partition("-")[0])
                    continue
                if rest.endswith(".tar.gz") and ((version := rest[:-7]) in usual or self._is_usual(version)):
                    versions.append(version)
                    continue
            if not leads_to(filename, self._project):
                self.strays.add(filename)
            versions.append(version_in(filename, self._project))
        return versions

    def _is_usual(self, version: str) -> bool:
        if not USUAL_VERSION.fullmatch(version):
            return False
        self._usual.add(version)
        return True
