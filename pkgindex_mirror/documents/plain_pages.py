"""Reading an upstream's JSON page of plain form in one pass. Nearly every page has that form. Pure.

    body ─ one typed decode ─► entries ─ checked, and rewritten in place ─► one encode ─► the page in one piece (`kept_pages`)

Plain form: sidecars announced as `core-metadata` or not at all; sha256 as the only digest; filenames of letters, digits and `._+!-`; times
as `clock.to_rfc3339` writes them; each filename once. For any other page the result is None, and `pages.read_page` reads it leniently.
A test checks that both ways of reading a plain page give the same bytes.
"""

from __future__ import annotations

import codecs
from collections.abc import Sequence
from datetime import datetime
from itertools import repeat
from typing import Annotated, Any, Final

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType
from msgspec.structs import replace

from pkgindex_core.formats.filenames import is_usual_version, leads_to, version_in
from pkgindex_core.formats.kept_pages import MOST_FILES, KeptRows, join, keep
from pkgindex_core.formats.versions import listed_versions, version_ranks
from pkgindex_core.names import ProjectName, normalized_or_none
from pkgindex_mirror import urls
from pkgindex_mirror.documents.differences import versions_without_files
from pkgindex_mirror.documents.document_kinds import is_json
from pkgindex_mirror.documents.markup import UnreadablePage
from pkgindex_mirror.documents.page_fields import FILENAME_LIMIT, TEXT_LIMIT, ReadingRemarks, provenance, text
from pkgindex_mirror.documents.pages import PageListing, read_page, said_of, versions_of

KEPT_BYTES: Final = 4 << 20
"""Largest page that is kept in one piece, in bytes. A larger one is kept in segments, so that a small change rewrites little."""

_HEXADECIMAL: Final = b"0123456789abcdef"
_NAME_MARKS: Final = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._+!-"
"""Characters that a filename may have without being quoted in a URL (`fragments.quoted`)."""
_OLDER_KEY: Final = b"dist-info-metadata"
"""Part of each older name of `core-metadata` (PEP 714)."""
_DIGITS: Final = b"0123456789"
_MARKS_OF_MOMENTS: Final = {
    len(each): each.translate(None, _DIGITS) for each in (b"2024-02-29T10:11:12Z", b"2024-02-29T10:11:12.345678Z")
}
"""The characters of a time that are no digits, by the length of the time."""
_NO_MICROSECONDS: Final = ".000000Z"
_WHEEL_DASHES: Final = frozenset({4, 5})
"""Numbers of dashes in a wheel's name, which has an optional build number (PEP 427)."""
_FIRST: Final = "1000"
_NEVER: Final = "9999"
"""The year of which some times are too late for clients (`page_fields.upload_time`)."""


class _ListedDigest(Struct, forbid_unknown_fields=True, gc=False):
    sha256: Annotated[str, Meta(min_length=64, max_length=64)]


class _ListedFile(Struct, rename="kebab", omit_defaults=True, gc=False):
    """A file as the upstream lists it, rewritten in place as this index lists it. Keys are in the order of `fragments.fragment`."""

    url: Annotated[str, Meta(max_length=urls.URL_LIMIT)]
    filename: Annotated[str, Meta(min_length=1, max_length=FILENAME_LIMIT)]
    hashes: _ListedDigest
    requires_python: Annotated[str, Meta(max_length=TEXT_LIMIT)] | None = None
    size: Annotated[int, Meta(ge=0, le=2**63 - 1)] | None = None
    upload_time: str | None = None
    yanked: bool | str = False
    core_metadata: _ListedDigest | bool | UnsetType = UNSET
    gpg_sig: bool | None = None
    provenance: str | None = None


class _ListedPage(Struct, rename="kebab"):
    files: list[_ListedFile]
    meta: Any = None
    name: Any = None
    versions: Any = None
    project_status: Any = None


_decode = msgspec.json.Decoder(_ListedPage).decode
_encode = msgspec.json.Encoder().encode


class ReadPage(Struct, frozen=True):
    """An upstream's page."""

    listing: PageListing
    rows: KeptRows | None
    """Its files in one piece; None for a long page."""


def read_leniently(body: bytes, content_type: str, url: str, project: ProjectName) -> ReadPage | UnreadablePage:
    """Read a page of any form."""
    listing = read_page(body, content_type, url, project)
    if isinstance(listing, UnreadablePage):
        return listing
    if len(body) > KEPT_BYTES or len(listing.files) > MOST_FILES:
        return ReadPage(listing, None)
    rows = keep(project, listing.files)
    return ReadPage(listing, rows if rows.is_ordinary else None)


def read_plain(body: bytes, content_type: str, url: str, project: ProjectName) -> ReadPage | None:
    """Read a page of plain form in one pass; None when it must be read leniently.

    The files are in `rows`, and `listing.files` is empty. `listing.versions` are the versions without files.
    """
    if len(body) > KEPT_BYTES:
        return None
    if not is_json(body, content_type):
        return None
    try:
        page = _decode(body.removeprefix(codecs.BOM_UTF8))
    except (msgspec.DecodeError, RecursionError):
        return None
    notes = ReadingRemarks()
    said = said_of(page, (), project, notes)
    if isinstance(said, UnreadablePage) or len(page.files) > MOST_FILES:
        return None
    files = page.files
    filenames = [each.filename for each in files]
    digests = [each.hashes.sha256 for each in files]
    links = _links([each.url for each in files], url)
    if links is None or not _have_plain_names(filenames) or not _have_plain_fields(files, digests):
        return None
    if _OLDER_KEY in body and any(each.core_metadata is UNSET for each in files):
        return None  # perhaps a sidecar announced under an older name
    names = _FilenameReader(project)
    versions = names.versions(filenames)
    _make_ours(files, digests)
    ranks = version_ranks(dict.fromkeys(versions))
    keys = [*zip(map(ranks.__getitem__, versions), filenames, strict=True)]
    if keys != sorted(keys):  # most upstreams have this order already
        places = sorted(range(len(keys)), key=keys.__getitem__)
        files, filenames = [files[at] for at in places], [filenames[at] for at in places]
        versions, links = [versions[at] for at in places], [links[at] for at in places]
    rows = join(
        _encode(files),
        [*zip(versions, links, repeat(None))],
        listed_versions(ranks),
        [each for each in filenames if each in names.strays] if names.strays else [],
    )
    if not rows.is_ordinary:
        return None
    listed = page.versions if isinstance(page.versions, list) else []
    others = versions_of([each for each in listed if isinstance(each, str) and each not in ranks])
    bare = versions_without_files(others, ranks)
    return ReadPage(replace(said, versions=bare, notes=notes.lines()), rows)


def _have_plain_names(filenames: Sequence[str]) -> bool:
    """Whether all filenames are plain and different: `page_fields.filename_problem` would find nothing wrong."""
    return (
        len(set(filenames)) == len(filenames)
        and _consist_of(filenames, _NAME_MARKS)
        and "/." not in "/".join(["", *filenames])
    )


def _have_plain_fields(entries: Sequence[_ListedFile], digests: Sequence[str]) -> bool:
    """`digests`: the sha256 of each file."""
    sidecars = [each.core_metadata for each in entries]
    announced = [each.sha256 for each in sidecars if isinstance(each, _ListedDigest)]
    moments = [each.upload_time for each in entries if each.upload_time is not None]
    return _consist_of(digests, _HEXADECIMAL) and _consist_of(announced, _HEXADECIMAL) and _are_plain_moments(moments)


def _are_plain_moments(moments: Sequence[str]) -> bool:
    """Whether times are written as by `clock.to_rfc3339`, except that microseconds may be zero. Checking all at once is much faster."""
    lengths = set(map(len, moments))
    if not lengths <= _MARKS_OF_MOMENTS.keys():
        return False
    if len(lengths) == 1:
        return _are_moments(moments, lengths.pop())
    return all(_are_moments([each for each in moments if len(each) == length], length) for length in lengths)


def _are_moments(moments: Sequence[str], length: int) -> bool:
    """Whether texts of one length are valid times of the form for that length."""
    if min(moments) < _FIRST or max(moments) >= _NEVER:
        return False
    text = "".join(moments)
    marks = _MARKS_OF_MOMENTS[length] * len(moments)
    if "T24" in text or not text.isascii() or text.encode().translate(None, _DIGITS) != marks:
        return False
    try:
        return all(map(datetime.fromisoformat, moments))
    except ValueError:
        return False


def _links(links: Sequence[str], base: str) -> Sequence[str] | None:
    """The links as absolute URLs; None when one is unusable. Fast when all begin with the same host."""
    start = urls.plain_start(links[0]) if links else ""
    # A prefix of the first and of the last link in order is a prefix of all.
    if start and min(links).startswith(start) and max(links).startswith(start) and _consist_of(links, urls.PLAIN_MARKS):
        return links
    cleaned = [urls.cleaned(each, base) for each in links]
    absolute = [each for each in cleaned if each is not None]
    return absolute if len(absolute) == len(links) else None


def _consist_of(texts: Sequence[str], marks: bytes) -> bool:
    text = "".join(texts)
    return text.isascii() and not text.encode().translate(None, marks)


def _make_ours(entries: Sequence[_ListedFile], digests: Sequence[str]) -> None:
    """Rewrite the upstream's entries in place as this index lists them. `digests`: the sha256 of each.

    Fields that few pages have in another form than ours are looked for in all entries at once, which is faster.
    """
    for entry, sha256 in zip(entries, digests, strict=True):
        entry.url = f"+f/{sha256[:3]}/{sha256[3:16]}/{entry.filename}"
    requirements = {each.requires_python for each in entries} - {None}
    ours = {each: text(each) or None for each in requirements}
    if any(before != now for before, now in ours.items()):
        for entry in entries:
            entry.requires_python = ours.get(entry.requires_python)
    for entry in [each for each in entries if each.core_metadata is False or each.core_metadata is UNSET]:
        entry.core_metadata = True if entry.filename.lower().endswith(".whl") else UNSET  # any wheel has one
    for entry in [each for each in entries if each.yanked.__class__ is str]:
        entry.yanked = text(entry.yanked) or False
    for entry in [each for each in entries if each.gpg_sig]:
        entry.gpg_sig = None
    for entry in [each for each in entries if each.provenance is not None]:
        entry.provenance = provenance(entry.provenance) or None
    for entry in [each for each in entries if each.upload_time and each.upload_time.endswith(_NO_MICROSECONDS)]:
        entry.upload_time = (entry.upload_time or "").removesuffix(_NO_MICROSECONDS) + "Z"


class _FilenameReader:
    """Reads the versions out of the filenames of one project. Names of today's form take a fast path."""

    def __init__(self, project: ProjectName) -> None:
        self._project = project
        self._is_ours: dict[str, bool] = {}
        self.strays: set[str] = set()

    def versions(self, filenames: Sequence[str]) -> list[str]:
        """The version in each filename (`version_in`). Remembers the filenames that do not belong to the project."""
        is_ours = self._is_ours
        versions = []
        beginning, version = "/", ""  # of the latest wheel of today's form, up to the dash after its version
        sdist, sdist_name = "", ""  # the name that the source distribution of that version may have
        for filename in filenames:
            if filename == sdist:
                versions.append(version)
                continue
            if filename.endswith(".whl"):
                if filename.startswith(beginning) and filename.count("-") in _WHEEL_DASHES:
                    versions.append(version)
                    continue
                name, *rest = filename.split("-")
                found = rest[0] if len(rest) in _WHEEL_DASHES else ""
            else:  # the name of the project may have dashes
                name, _, last = filename.rpartition("-")
                found = last[:-7] if last.endswith(".tar.gz") and is_usual_version(last[:-7]) else ""
            if found:
                if name not in is_ours:
                    is_ours[name] = normalized_or_none(name) == self._project
                if is_ours[name]:
                    versions.append(found)
                    if filename.endswith(".whl"):
                        beginning, version = f"{name}-{found}-", found
                        sdist = f"{sdist_name}-{found}.tar.gz" if sdist_name and is_usual_version(found) else ""
                    else:
                        sdist_name = name
                    continue
            if not leads_to(filename, self._project):
                self.strays.add(filename)
            versions.append(version_in(filename, self._project))
        return versions
