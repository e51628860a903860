"""Reading an upstream's project page, JSON 1.x and HTML. Pure. (Links of HTML: `html_pages`.)

An entry or field that cannot be read is left out, with a sentence for the log; the rest of the page is read. A page as a whole is
unreadable if it is no project page (an error page, a captive portal, JSON that was cut off), or if its major version is not 1.
An unreadable page is never treated as an empty one: a page with fewer files would make an installer take them from another index.

A page is decoded a quarter of a megabyte at a time and its files are kept as bytes, so reading it takes about twice its size in memory.
A field that is too large is not decoded (`json_pieces`). The caller reads large pages in a worker.

Does not know which networks URLs lead to (`addresses`), nor what is stored (`differences`).
"""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Iterable
from typing import Any, Final, Protocol

import msgspec
from msgspec import UNSET, Struct
from msgspec.structs import replace

from pkgindex_core.formats.filenames import version_in
from pkgindex_core.models import PROJECT_STATUSES, File
from pkgindex_core.names import ProjectName, normalized_or_none
from pkgindex_mirror import urls
from pkgindex_mirror.documents import json_pieces
from pkgindex_mirror.documents.document_kinds import is_empty, is_json
from pkgindex_mirror.documents.file_piles import FilePile
from pkgindex_mirror.documents.html_pages import REPOSITORY_VERSION, HtmlPage
from pkgindex_mirror.documents.markup import Tag, UnreadablePage, as_text, tags
from pkgindex_mirror.documents.page_fields import (
    ReadingRemarks,
    core_metadata,
    digests,
    filename_problem,
    gpg_sig,
    provenance,
    size,
    text,
    upload_time,
)

_VERSION_LIMIT = 255
_VERSIONS_LIMIT: Final = 4 * 1024 * 1024
"""Largest list of versions, in bytes of JSON: about 300,000 versions."""
_LENIENT_LIMIT: Final = 4 * 1024 * 1024
"""Largest page that is read leniently after strict reading failed, in bytes of JSON. It may take thirty times its size in memory."""


class PageListing(Struct, frozen=True, kw_only=True):
    """A project page of an upstream."""

    display_name: str
    files: FilePile
    """By filename, each once."""
    versions: tuple[str, ...]
    status: str
    status_reason: str
    notes: tuple[str, ...]
    """Sentences for the log about what was left out."""
    doubt: str = ""
    """Why a page without files may not be the page of this project; then known files are kept. Empty: it is."""


def read_page(
    body: bytes | bytearray, content_type: str, url: str, project: ProjectName
) -> PageListing | UnreadablePage:
    """Read a project page. `url` is its URL after redirects, to which links are relative."""
    if is_empty(body):
        return UnreadablePage("the page is empty")
    if is_json(body, content_type):
        return _read_json_page(body, url, project)
    return _read_html_page(*as_text(body, content_type), url, project)


def api_version(body: bytes | bytearray, content_type: str) -> str | None:
    """The version of the simple API that a page declares; None when it declares none."""
    if is_json(body, content_type):
        meta = (_any_json(body) or {}).get("meta")
        value = meta.get("api-version") if isinstance(meta, dict) else None
    else:
        metas = [tag.attributes for tag in tags(*as_text(body, content_type), {"meta"}) if isinstance(tag, Tag)]
        named = [meta for meta in metas if meta.get("name", "").lower() == REPOSITORY_VERSION]
        value = named[0].get("content") if named else None
    return value if isinstance(value, str) else None


class _FileEntry(Struct, rename="kebab", gc=False):
    """The JSON object of one file. All types are `Any`, so that a wrong type spoils only its own field."""

    filename: Any = None
    url: Any = None
    hashes: Any = None
    requires_python: Any = None
    size: Any = None
    upload_time: Any = None
    yanked: Any = False
    core_metadata: Any = UNSET
    dist_info_metadata: Any = UNSET
    data_dist_info_metadata: Any = UNSET  # PyPI's spelling
    gpg_sig: Any = None
    provenance: Any = None


class _ProjectFields(Protocol):
    """The fields of a JSON page about the project itself."""

    meta: Any
    name: Any
    project_status: Any


class _JsonPage(Struct, rename="kebab"):
    """The fields of a JSON page, not decoded. Other fields are skipped."""

    files: msgspec.Raw
    meta: msgspec.Raw = msgspec.Raw()
    name: msgspec.Raw = msgspec.Raw()
    versions: msgspec.Raw = msgspec.Raw()
    project_status: msgspec.Raw = msgspec.Raw()


class _Fields(Struct):
    """The decoded fields of a page, without its files."""

    meta: Any
    name: Any
    versions: tuple[str, ...]
    project_status: Any


_page_decoder = msgspec.json.Decoder(_JsonPage)
_entries_decoder = msgspec.json.Decoder(list[_FileEntry])


def _read_json_page(body: bytes | bytearray, url: str, project: ProjectName) -> PageListing | UnreadablePage:
    try:
        page = _page_decoder.decode(body.removeprefix(codecs.BOM_UTF8))
        fields = _Fields(
            meta=json_pieces.value(page.meta, "meta"),
            name=json_pieces.value(page.name, "name"),
            versions=_versions_in(page.versions),
            project_status=json_pieces.value(page.project_status, "project-status"),
        )
        pieces = json_pieces.items(page.files, _entries_of)
        return _json_listing(fields, (entry for piece in pieces for entry in piece), url, project)
    except json_pieces.TooLargeError as error:
        return UnreadablePage(f"the page cannot be read: {error}")
    except (msgspec.DecodeError, RecursionError, json_pieces.NoArrayError):
        if len(body) > _LENIENT_LIMIT:
            return UnreadablePage("the page is not JSON (RFC 8259), or was cut off, or has no list of files")
    document = _any_json(body)
    if document is None:
        return UnreadablePage("the page is not JSON, or was cut off")
    files = document.get("files")
    if not isinstance(files, list):
        return UnreadablePage("the JSON document has no list of files")
    fields = _Fields(
        meta=document.get("meta"),
        name=document.get("name"),
        versions=versions_of(document.get("versions")),
        project_status=document.get("project-status"),
    )
    return _json_listing(fields, map(_entry, files), url, project)


def _json_listing(
    page: _Fields, entries: Iterable[_FileEntry | None], url: str, project: ProjectName
) -> PageListing | UnreadablePage:
    notes = ReadingRemarks()
    said = said_of(page, page.versions, project, notes)
    if isinstance(said, UnreadablePage):
        return said
    files = _pile((_file_of(entry, url, project, notes) for entry in entries), notes)
    return replace(said, files=files, notes=notes.lines())


def said_of(
    page: _ProjectFields, versions: tuple[str, ...], project: ProjectName, notes: ReadingRemarks
) -> PageListing | UnreadablePage:
    """Read what a JSON page has besides its files. The `files` of the listing are empty."""
    meta = page.meta if isinstance(page.meta, dict) else {}
    refused = check_version(meta.get("api-version"), notes)
    if refused:
        return refused
    # PEP 792 puts it at the top level; the example of the PyPA specification has it in `meta`.
    status = page.project_status if isinstance(page.project_status, dict) else meta.get("project-status")
    status = status if isinstance(status, dict) else {}
    display_name = text(page.name)
    if display_name and normalized_or_none(display_name) != project:
        notes.add(f"the page calls itself {display_name[:80]!r}")
        display_name = ""
    return PageListing(
        display_name=display_name or project,
        files=FilePile(),
        versions=versions,
        status=_status(status.get("status"), notes),
        status_reason=text(status.get("reason")),
        notes=notes.lines(),
    )


def _entries_of(array: bytes) -> list[_FileEntry | None]:
    try:
        return _entries_decoder.decode(array)  # type: ignore[return-value]  # list is invariant
    except msgspec.ValidationError:  # an item is no object
        return [_entry(item) for item in msgspec.json.decode(array)]


def _entry(item: Any) -> _FileEntry | None:
    if not isinstance(item, dict):
        return None
    return _FileEntry(
        **{name.replace("-", "_"): item[name] for name in _FileEntry.__struct_encode_fields__ if name in item}
    )


def _file_of(entry: _FileEntry | None, base: str, project: ProjectName, notes: ReadingRemarks) -> File | None:
    if entry is None:
        notes.add("an entry that is no object was left out")
        return None
    filename = entry.filename
    problem = filename_problem(filename)
    if problem:
        notes.add(f"a file was left out: {problem}")
        return None
    url = urls.cleaned(entry.url, base) if isinstance(entry.url, str) else None
    if url is None:
        problem = urls.problem(entry.url, base) if isinstance(entry.url, str) else "it has no URL"
        notes.add(f"{filename!r} was left out: {problem}")
        return None
    announced = entry.core_metadata
    if announced is UNSET:
        announced = entry.dist_info_metadata
    if announced is UNSET:
        announced = entry.data_dist_info_metadata
    metadata_sha256, offered = core_metadata(announced, filename)
    return File(
        filename=filename,
        version=version_in(filename, project),
        digests=digests(entry.hashes),
        size=size(entry.size),
        upload_time=upload_time(entry.upload_time),
        requires_python=text(entry.requires_python),
        # PEP 592: any non-empty string is a reason, even "false".
        yanked=entry.yanked if isinstance(entry.yanked, bool) else text(entry.yanked) or False,
        metadata_sha256=metadata_sha256,
        metadata_offered=offered,
        provenance=provenance(entry.provenance),
        gpg_sig=gpg_sig(entry.gpg_sig),
        url=url,
    )


def _versions_in(field: msgspec.Raw) -> tuple[str, ...]:
    """Decode the list of versions in pieces: four megabytes may have a million items that are no strings."""
    json_pieces.check(field, "versions", _VERSIONS_LIMIT)
    if bytes(memoryview(field)[:1]) != b"[":
        return ()
    pieces = json_pieces.items(field, msgspec.json.decode)
    return versions_of([item for piece in pieces for item in piece if isinstance(item, str)])


def versions_of(values: Any) -> tuple[str, ...]:
    """The versions that a page lists, each once. Items that are no versions are left out."""
    if not isinstance(values, list):
        return ()
    kept = (text(value) for value in values if isinstance(value, str) and len(value) <= _VERSION_LIMIT)
    return tuple(dict.fromkeys(version for version in kept if version))


def _status(value: Any, notes: ReadingRemarks) -> str:
    if value is None or value == "":
        return ""
    if isinstance(value, str) and value in PROJECT_STATUSES:
        return value
    notes.add(f"unknown project status {str(value)[:40]!r} was omitted")
    return ""


def check_version(value: Any, notes: ReadingRemarks) -> UnreadablePage | None:
    """Refuse a page of another major version than 1 (PEP 629). A newer minor version is read, with a note. None means 1.0."""
    if value is None:
        return None
    match = re.fullmatch(r"([0-9]{1,9})\.([0-9]{1,9})", value) if isinstance(value, str) else None
    if match is None:
        notes.add(f"api-version {str(value)[:40]!r} is no version; the page is read as 1.0")
        return None
    major, minor = int(match[1]), int(match[2])
    if major != 1:
        return UnreadablePage(f"the page speaks version {major}.{minor} of the simple API, this program speaks 1.x")
    if minor > 4:
        notes.add(f"api-version 1.{minor} is newer than 1.4: its new fields are not read")
    return None


def _pile(files: Iterable[File | None], notes: ReadingRemarks) -> FilePile:
    pile = FilePile(file for file in files if file is not None)
    for filename in pile.settle():
        notes.add(f"{filename!r} is listed twice; the first entry is used")
    return pile


def _any_json(body: bytes | bytearray) -> dict[str, Any] | None:
    """Decode JSON leniently: the standard library accepts NaN, 1e400 and odd escapes, which some generators write."""
    try:
        document = json.loads(body.removeprefix(codecs.BOM_UTF8))
    except (ValueError, RecursionError):
        return None
    return document if isinstance(document, dict) else None


def _read_html_page(
    document: bytes | bytearray, charset: str, url: str, project: ProjectName
) -> PageListing | UnreadablePage:
    notes = ReadingRemarks()
    page = HtmlPage(document, charset, url, project, notes)
    files = _pile(page.files(), notes)
    refused = page.problem or check_version(page.meta.get(REPOSITORY_VERSION), notes)
    if refused:
        return refused
    return PageListing(
        display_name=project,
        files=files,
        versions=(),
        status=_status(page.meta.get("pypi:project-status"), notes),
        status_reason=text(page.meta.get("pypi:project-status-reason")),
        notes=notes.lines(),
        doubt=page.doubt,
    )
