"""What an upstream's page says, as values: JSON 1.x and HTML. Pure. (HTML's links: `html_pages`.)

Everything an upstream says of a file passes through; what cannot be read is left out with a sentence for the log,
and one bad entry never costs the page. Two things make a page as a whole unreadable: it is not a package page
at all (an error page, a captive portal, JSON that was cut off), or its major version is not 1. Unreadable means unavailable,
never empty: a shorter page would let an installer fall back to another index.

A page is read a quarter of a megabyte at a time and its files are kept as bytes, so that it costs about twice its own size; a field that is
larger than any honest one is not decoded (`json_pieces`). Nothing here waits for anything: a large page is read in a worker.

Does not know: URLs' networks (see `addresses`), what is stored (see `differences`).
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
from pkgindex_mirror import json_pieces, urls
from pkgindex_mirror.file_piles import FilePile
from pkgindex_mirror.html_pages import REPOSITORY_VERSION, HtmlPage
from pkgindex_mirror.markup import Tag, Unreadable, as_text, is_empty, tags
from pkgindex_mirror.page_fields import (
    Notes,
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
"""Bytes of JSON of the list of versions: 300,000 of them."""
_LENIENT_LIMIT: Final = 4 * 1024 * 1024
"""Bytes of JSON that are read leniently when they cannot be read strictly, which costs up to thirty times the memory."""


class PageListing(Struct, frozen=True, kw_only=True):
    """A project page as the upstream has it."""

    display_name: str
    files: FilePile
    """By filename, each once."""
    versions: tuple[str, ...]
    status: str
    status_reason: str
    notes: tuple[str, ...]
    """What was left out and why, for the log."""
    doubt: str = ""
    """Why it may be no page of this project, since it shows no files; known files are not given up for it."""


def read_page(body: bytes | bytearray, content_type: str, url: str, project: ProjectName) -> PageListing | Unreadable:
    """Read a project page. `url` is where it came from in the end: relative links start there."""
    if is_empty(body):
        return Unreadable("the page is empty")
    if is_json(body, content_type):
        return _read_json_page(body, url, project)
    return _read_html_page(*as_text(body, content_type), url, project)


def is_json(body: bytes | bytearray, content_type: str) -> bool:
    """Trust the Content-Type, unless the first byte contradicts it: no HTML begins with `{`, no JSON with `<`."""
    first = bytes(body[:64]).removeprefix(codecs.BOM_UTF8).lstrip()[:1]
    if first == b"{":
        return True
    if first == b"<":
        return False
    return "json" in content_type.lower()


def api_version(body: bytes | bytearray, content_type: str) -> str | None:
    """The version of the simple API that a page says it speaks; None when it says nothing."""
    if is_json(body, content_type):
        meta = (_any_json(body) or {}).get("meta")
        value = meta.get("api-version") if isinstance(meta, dict) else None
    else:
        metas = [tag.attributes for tag in tags(*as_text(body, content_type), {"meta"}) if isinstance(tag, Tag)]
        named = [meta for meta in metas if meta.get("name", "").lower() == REPOSITORY_VERSION]
        value = named[0].get("content") if named else None
    return value if isinstance(value, str) else None


class _Entry(Struct, rename="kebab", gc=False):
    """One file's JSON object. `Any` everywhere: a type that is wrong is a matter of that entry."""

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


class _SaysOfItself(Protocol):
    """The fields of a JSON page that are about the project."""

    meta: Any
    name: Any
    project_status: Any


class _JsonPage(Struct, rename="kebab"):
    """Where the fields stand. Any other field is passed over and costs nothing, however large."""

    files: msgspec.Raw
    meta: msgspec.Raw = msgspec.Raw()
    name: msgspec.Raw = msgspec.Raw()
    versions: msgspec.Raw = msgspec.Raw()
    project_status: msgspec.Raw = msgspec.Raw()


class _Fields(Struct):
    """What stands beside the files."""

    meta: Any
    name: Any
    versions: tuple[str, ...]
    project_status: Any


_page_decoder = msgspec.json.Decoder(_JsonPage)
_entries_decoder = msgspec.json.Decoder(list[_Entry])


def _read_json_page(body: bytes | bytearray, url: str, project: ProjectName) -> PageListing | Unreadable:
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
        return Unreadable(f"the page is beyond reading: {error}")
    except (msgspec.DecodeError, RecursionError, json_pieces.NoArrayError):
        if len(body) > _LENIENT_LIMIT:
            return Unreadable("the page is not JSON as RFC 8259 has it, or was cut off, or has no list of files")
    document = _any_json(body)
    if document is None:
        return Unreadable("the page is not JSON, or was cut off")
    files = document.get("files")
    if not isinstance(files, list):
        return Unreadable("the JSON document has no list of files")
    fields = _Fields(
        meta=document.get("meta"),
        name=document.get("name"),
        versions=versions_of(document.get("versions")),
        project_status=document.get("project-status"),
    )
    return _json_listing(fields, map(_entry, files), url, project)


def _json_listing(
    page: _Fields, entries: Iterable[_Entry | None], url: str, project: ProjectName
) -> PageListing | Unreadable:
    notes = Notes()
    said = said_of(page, page.versions, project, notes)
    if isinstance(said, Unreadable):
        return said
    files = _pile((_file_of(entry, url, project, notes) for entry in entries), notes)
    return replace(said, files=files, notes=notes.lines())


def said_of(
    page: _SaysOfItself, versions: tuple[str, ...], project: ProjectName, notes: Notes
) -> PageListing | Unreadable:
    """What a JSON page says besides its files."""
    meta = page.meta if isinstance(page.meta, dict) else {}
    refused = check_version(meta.get("api-version"), notes)
    if refused:
        return refused
    # PEP 792's text says top level; the living specification's example says meta.
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


def _entries_of(array: bytes) -> list[_Entry | None]:
    try:
        return _entries_decoder.decode(array)  # type: ignore[return-value]  # a list of these is one of those
    except msgspec.ValidationError:  # something in it is no object
        return [_entry(item) for item in msgspec.json.decode(array)]


def _entry(item: Any) -> _Entry | None:
    if not isinstance(item, dict):
        return None
    return _Entry(**{name.replace("-", "_"): item[name] for name in _Entry.__struct_encode_fields__ if name in item})


def _file_of(entry: _Entry | None, base: str, project: ProjectName, notes: Notes) -> File | None:
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
    """The versions, a piece at a time: a list of four megabytes may have a million items that are none."""
    json_pieces.check(field, "versions", _VERSIONS_LIMIT)
    if bytes(memoryview(field)[:1]) != b"[":
        return ()
    pieces = json_pieces.items(field, msgspec.json.decode)
    return versions_of([item for piece in pieces for item in piece if isinstance(item, str)])


def versions_of(values: Any) -> tuple[str, ...]:
    """The versions that a page lists, each once; what is none is passed over."""
    if not isinstance(values, list):
        return ()
    kept = (text(value) for value in values if isinstance(value, str) and len(value) <= _VERSION_LIMIT)
    return tuple(dict.fromkeys(version for version in kept if version))


def _status(value: Any, notes: Notes) -> str:
    if value is None or value == "":
        return ""
    if isinstance(value, str) and value in PROJECT_STATUSES:
        return value
    notes.add(f"unknown project status {str(value)[:40]!r} was omitted")
    return ""


def check_version(value: Any, notes: Notes) -> Unreadable | None:
    """PEP 629: another major version is another language; a higher minor one only says more. None means 1.0."""
    if value is None:
        return None
    match = re.fullmatch(r"([0-9]{1,9})\.([0-9]{1,9})", value) if isinstance(value, str) else None
    if match is None:
        notes.add(f"api-version {str(value)[:40]!r} is no version; taken as 1.0")
        return None
    major, minor = int(match[1]), int(match[2])
    if major != 1:
        return Unreadable(f"the page speaks version {major}.{minor} of the simple API, this program speaks 1.x")
    if minor > 4:
        notes.add(f"api-version 1.{minor} is newer than 1.4: what it adds is not read")
    return None


def _pile(files: Iterable[File | None], notes: Notes) -> FilePile:
    pile = FilePile(file for file in files if file is not None)
    for filename in pile.settle():
        notes.add(f"{filename!r} is listed twice; the first is taken")
    return pile


def _any_json(body: bytes | bytearray) -> dict[str, Any] | None:
    """The standard library's reader takes NaN, 1e400 and odd escapes, which some generators write."""
    try:
        document = json.loads(body.removeprefix(codecs.BOM_UTF8))
    except (ValueError, RecursionError):
        return None
    return document if isinstance(document, dict) else None


def _read_html_page(
    document: bytes | bytearray, charset: str, url: str, project: ProjectName
) -> PageListing | Unreadable:
    notes = Notes()
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
