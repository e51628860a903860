"""An upstream's JSON page read in one pass, when all of it has the plain form that nearly every page has. Pure.

    body ─ one typed decode ─► entries ─ checked, links made ours, in place ─► one encode ─► the page in one piece (`kept_pages`)

Plain: `core-metadata` in every entry, a sha256 and no other digest, filenames of letters, digits and `._+!-`, times as we write
them, each name once. What is not plain gives None for the page, and `pages.read_page` reads it leniently. Both read the
same out of a plain page, byte for byte; a law in the tests says so.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any, Final

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType
from msgspec.structs import replace

from pkgindex_core.formats.filenames import candidate_projects, version_in
from pkgindex_core.formats.kept_pages import MOST_FILES, Hidden, KeptRows, keep, pack
from pkgindex_core.formats.versions import listed_versions, version_ranks
from pkgindex_core.names import ProjectName, normalized_or_none
from pkgindex_mirror import urls
from pkgindex_mirror.differences import versions_without_files
from pkgindex_mirror.markup import Unreadable
from pkgindex_mirror.page_fields import FILENAME_LIMIT, TEXT_LIMIT, Notes, filename_problem, provenance, text
from pkgindex_mirror.pages import PageListing, is_json, read_page, said_of

KEPT_BYTES: Final = 1024 * 1024
"""Bytes of a page that is kept in one piece. A longer one is kept in segments, and a change of it costs what it changes."""

_HEXADECIMAL: Final = b"0123456789abcdef"
_NAME_MARKS: Final = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._+!-"
"""Of these a filename is itself in a URL (`fragments.quoted`)."""
_is_version = re.compile(r"[0-9]+(?:\.[0-9]+)*(?:(?:a|b|rc)[0-9]+)?(?:\.post[0-9]+)?(?:\.dev[0-9]+)?").fullmatch
_is_time = re.compile(
    r"[1-9][0-9]{3}-[0-9]{2}-[0-9]{2}T(?:[01][0-9]|2[0-3]):[0-9]{2}:[0-9]{2}(?:\.[0-9]{6})?Z"
).fullmatch
"""A time as `clock.to_rfc3339` writes it, except that it does not write zero microseconds."""
_NO_MICROSECONDS: Final = ".000000Z"
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


def read(body: bytes, content_type: str, url: str, project: ProjectName) -> ReadPage | Unreadable:
    """Read a page: in one pass where its form is plain, leniently otherwise."""
    ordinary = len(body) <= KEPT_BYTES
    plain = read_plain(body, content_type, url, project) if ordinary else None
    if plain is not None:
        return ReadPage(*plain)
    listing = read_page(body, content_type, url, project)
    if isinstance(listing, Unreadable):
        return listing
    return ReadPage(listing, keep(project, listing.files) if ordinary and len(listing.files) <= MOST_FILES else None)


def read_plain(body: bytes, content_type: str, url: str, project: ProjectName) -> tuple[PageListing, KeptRows] | None:
    """Read a page of plain form: what it says besides its files, and these in one piece. None when it must be read leniently.

    The listing has no files, and of the versions those that have none.
    """
    if not is_json(body, content_type):
        return None
    try:
        page = _decode(body.removeprefix(codecs.BOM_UTF8))
    except (msgspec.DecodeError, RecursionError):
        return None
    notes = Notes()
    said = said_of(page, project, notes)
    if isinstance(said, Unreadable) or len(page.files) > MOST_FILES or not _plain_in_all(page.files):
        return None
    files = _Files(url, project)
    if not all(map(files.take, page.files)):
        return None
    versions = versions_without_files(said.versions, files.versions)
    return replace(said, versions=versions, notes=notes.lines()), files.packed()


def _plain_in_all(entries: Sequence[_Entry]) -> bool:
    """What is checked at once for all files: names, each once, and digests."""
    filenames = [each.filename for each in entries]
    digests = [each.hashes.sha256 for each in entries]
    digests += [each.core_metadata.sha256 for each in entries if isinstance(each.core_metadata, _Digest)]
    return (
        len(set(filenames)) == len(filenames)
        and _consists_of(filenames, _NAME_MARKS)
        and _consists_of(digests, _HEXADECIMAL)
    )


def _consists_of(texts: Sequence[str], marks: bytes) -> bool:
    text = "".join(texts)
    return text.isascii() and not text.encode().translate(None, marks)


class _Files:
    """The files of one page, one after another."""

    def __init__(self, base: str, project: ProjectName) -> None:
        self._base = base
        self._project = project
        self._names: dict[str, bool] = {}
        self._requirements: dict[str, str | None] = {}
        self._taken: list[tuple[str, str, str, _Entry]] = []
        self._strays: set[str] = set()

    @property
    def versions(self) -> set[str]:
        return {version for version, *_ in self._taken}

    def take(self, entry: _Entry) -> bool:
        """Make an entry of the upstream's ours, in place; False when it is not plain."""
        filename = entry.filename
        version = self._version(filename)
        link = urls.cleaned(entry.url, self._base)
        moment = entry.upload_time
        if version is None or link is None or not (moment is None or _is_moment(moment)):
            return False
        if entry.core_metadata is UNSET:
            return False
        if entry.core_metadata is False:
            entry.core_metadata = True if filename.lower().endswith(".whl") else UNSET  # every wheel has one
        if moment is not None and moment.endswith(_NO_MICROSECONDS):
            entry.upload_time = moment.replace(_NO_MICROSECONDS, "Z")
        sha256 = entry.hashes.sha256
        entry.url = f"+f/{sha256[:3]}/{sha256[3:16]}/{filename}"
        if entry.requires_python is not None:
            entry.requires_python = self._requirement(entry.requires_python)
        if isinstance(entry.yanked, str):
            entry.yanked = text(entry.yanked) or False
        if entry.gpg_sig:
            entry.gpg_sig = None
        if entry.provenance is not None:
            entry.provenance = provenance(entry.provenance) or None
        self._taken.append((version, filename, link, entry))
        return True

    def _version(self, filename: str) -> str | None:
        """The version that a name spells; None when nothing may be called so. Names as they are written today are read at once."""
        name, _, rest = filename.partition("-")
        is_ours = self._names.get(name)
        if is_ours is None:
            is_ours = self._names[name] = normalized_or_none(name) == self._project
        if is_ours:
            if rest.endswith(".whl") and rest.count("-") in {3, 4}:
                return rest.partition("-")[0]
            if rest.endswith(".tar.gz") and _is_version(rest, 0, len(rest) - len(".tar.gz")):
                return rest.removesuffix(".tar.gz")
        if filename_problem(filename):
            return None
        if self._project not in candidate_projects(filename):
            self._strays.add(filename)
        return version_in(filename, self._project)

    def _requirement(self, value: str) -> str | None:
        known = self._requirements.get(value)
        if known is None:
            known = self._requirements[value] = text(value) or None
        return known

    def packed(self) -> KeptRows:
        """All of them in one piece, in the order of a page."""
        ranks = version_ranks(self.versions)
        ordered = sorted(self._taken, key=lambda taken: (ranks[taken[0]], taken[1]))
        return pack(
            _encode([entry for *_, entry in ordered]),
            [Hidden(version, link) for version, _, link, _ in ordered],
            listed_versions(ranks),
            [filename for _, filename, *_ in ordered if filename in self._strays],
        )


def _is_moment(moment: str) -> bool:
    if not _is_time(moment) or moment >= _NEVER:
        return False
    try:
        datetime.fromisoformat(moment)
    except ValueError:
        return False
    return True
