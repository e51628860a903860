"""What an upstream's page says, as values: JSON 1.x and HTML (standards 1.3-1.5). Pure.

Everything an upstream says of a file passes through; what cannot be read is left out with a sentence for the log,
and one bad entry never costs the page. Two things make a page as a whole unreadable: it is not a package page
at all (an error page, a captive portal, a document that was cut off), or its major version is not 1. Unreadable means unavailable,
never empty: a shorter page would let an installer fall back to another index.

Does not know: URLs' networks (see `addresses`), what is stored (see `differences`).
"""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Iterable, Iterator
from typing import Any

import msgspec
from msgspec import UNSET, Struct

from pkgindex_core.clock import Timestamp, from_rfc3339
from pkgindex_core.digests import Sha256, clean_digests, parse_sha256
from pkgindex_core.formats.filenames import kind_of, version_in
from pkgindex_core.models import File
from pkgindex_core.names import ProjectName, normalized_or_none
from pkgindex_mirror import urls
from pkgindex_mirror.markup import LOOKS_LIKE_INDEX, Tag, Unreadable, html_problem, tags, text_of

STATUSES = frozenset({"active", "archived", "quarantined", "deprecated"})
"""PEP 792's markers. Any other one is omitted (standards FI-12)."""

FILENAME_LIMIT = 255
TEXT_LIMIT = 4096
_SIZE_LIMIT = 2**63
_TIME_LIMIT = Timestamp(253_402_207_200_000_000)
"""9999-12-30T22:00Z in microseconds: uv refuses the whole page for a later time."""
_VERSION_LIMIT = 255
_NOTES_LIMIT = 20


class PageListing(Struct, frozen=True, kw_only=True):
    """A project page as the upstream has it."""

    display_name: str
    files: tuple[File, ...]
    versions: tuple[str, ...]
    status: str
    status_reason: str
    notes: tuple[str, ...]
    """What was left out and why, for the log."""


def read_page(body: bytes, content_type: str, url: str, project: ProjectName) -> PageListing | Unreadable:
    """Read a project page. `url` is where it came from in the end: relative links start there."""
    if not body.strip():
        return Unreadable("the page is empty")
    if is_json(body, content_type):
        return _read_json_page(body, url, project)
    return _read_html_page(text_of(body, content_type), url, project)


def is_json(body: bytes, content_type: str) -> bool:
    """Trust the Content-Type, unless the first byte contradicts it: no HTML begins with `{`, no JSON with `<` (trap 22)."""
    first = body[:64].removeprefix(codecs.BOM_UTF8).lstrip()[:1]
    if first == b"{":
        return True
    if first == b"<":
        return False
    return "json" in content_type.lower()


def api_version(body: bytes, content_type: str) -> str | None:
    """The version of the simple API that a page says it speaks; None when it says nothing."""
    if is_json(body, content_type):
        meta = (_any_json(body) or {}).get("meta")
        value = meta.get("api-version") if isinstance(meta, dict) else None
    else:
        metas = [tag for tag in tags(text_of(body, content_type)) if isinstance(tag, Tag) and tag.name == "meta"]
        named = [tag for tag in metas if tag.attributes.get("name", "").lower() == "pypi:repository-version"]
        value = named[0].attributes.get("content") if named else None
    return value if isinstance(value, str) else None


class Notes:
    """Collects what was left out; many of a kind would only fill the log."""

    def __init__(self) -> None:
        self._lines: list[str] = []
        self._count = 0

    def add(self, line: str) -> None:
        """Note one sentence."""
        self._count += 1
        if self._count <= _NOTES_LIMIT:
            self._lines.append(line)

    def lines(self) -> tuple[str, ...]:
        """What there is to say."""
        more = self._count - len(self._lines)
        return (*self._lines, *([f"and {more} more"] if more else []))


class _Entry(Struct, rename="kebab"):
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
    data_dist_info_metadata: Any = UNSET  # warehouse's spelling (JS-9)
    gpg_sig: Any = None
    provenance: Any = None


class _JsonPage(Struct, rename="kebab"):
    files: list[_Entry]
    meta: Any = None
    name: Any = None
    versions: Any = None
    project_status: Any = None


_page_decoder = msgspec.json.Decoder(_JsonPage)


def _read_json_page(body: bytes, url: str, project: ProjectName) -> PageListing | Unreadable:
    notes = Notes()
    try:
        page = _page_decoder.decode(body.removeprefix(codecs.BOM_UTF8))
    except (msgspec.DecodeError, RecursionError):
        document = _any_json(body)
        if document is None:
            return Unreadable("the page is not JSON, or was cut off")
        files = document.get("files")
        if not isinstance(files, list):
            return Unreadable("the JSON document has no list of files")
        page = _JsonPage(
            files=list(_entries(files, notes)),
            meta=document.get("meta"),
            name=document.get("name"),
            versions=document.get("versions"),
            project_status=document.get("project-status"),
        )
    meta = page.meta if isinstance(page.meta, dict) else {}
    refused = check_version(meta.get("api-version"), notes)
    if refused:
        return refused
    # PEP 792's text says top level; the living specification's example says meta (JS-14).
    status = page.project_status if isinstance(page.project_status, dict) else meta.get("project-status")
    status = status if isinstance(status, dict) else {}
    display_name = _text(page.name)
    if display_name and normalized_or_none(display_name) != project:
        notes.add(f"the page calls itself {display_name[:80]!r}")
        display_name = ""
    return PageListing(
        display_name=display_name or project,
        files=_unique((_file_of(entry, url, project, notes) for entry in page.files), notes),
        versions=_versions(page.versions),
        status=_status(status.get("status"), notes),
        status_reason=_text(status.get("reason")),
        notes=notes.lines(),
    )


def _entries(files: list[Any], notes: Notes) -> Iterator[_Entry]:
    fields = _Entry.__struct_encode_fields__
    for entry in files:
        if isinstance(entry, dict):
            known = {name.replace("-", "_"): entry[name] for name in fields if name in entry}
            yield _Entry(**known)
        else:
            notes.add("an entry that is no object was left out")


def _file_of(entry: _Entry, base: str, project: ProjectName, notes: Notes) -> File | None:
    filename = entry.filename
    problem = filename_problem(filename)
    if problem:
        notes.add(f"a file was left out: {problem}")
        return None
    url = urls.cleaned(entry.url, base) if isinstance(entry.url, str) else None
    if url is None:
        notes.add(f"{filename!r} was left out: its URL is no http(s) URL")
        return None
    core_metadata = entry.core_metadata
    if core_metadata is UNSET:
        core_metadata = entry.dist_info_metadata
    if core_metadata is UNSET:
        core_metadata = entry.data_dist_info_metadata
    metadata_sha256, offered = _core_metadata(core_metadata, filename)
    return File(
        filename=filename,
        version=version_in(filename, project),
        digests=_digests(entry.hashes),
        size=_size(entry.size),
        upload_time=_upload_time(entry.upload_time),
        requires_python=_text(entry.requires_python),
        # PEP 592: any non-empty string is a reason, even "false".
        yanked=entry.yanked if isinstance(entry.yanked, bool) else _text(entry.yanked) or False,
        metadata_sha256=metadata_sha256,
        metadata_offered=offered,
        provenance=_provenance(entry.provenance),
        gpg_sig=_gpg_sig(entry.gpg_sig),
        url=url,
    )


def filename_problem(filename: object) -> str:
    """Why a filename cannot be served or stored; empty when it can."""
    if not isinstance(filename, str) or not filename:
        return "it has no filename"
    if len(filename) > FILENAME_LIMIT or len(filename.encode("utf-8", "replace")) > FILENAME_LIMIT:
        return f"the filename {filename[:40]!r}… is longer than {FILENAME_LIMIT} bytes"
    # isprintable also refuses lone surrogates and every kind of control and separator except the blank.
    if "/" in filename or "\\" in filename or not filename.isprintable() or filename[0] in ". " or filename[-1] == " ":
        return f"the filename {filename!r} is not a plain one"
    return ""


def _core_metadata(value: Any, filename: str) -> tuple[Sha256 | None, bool]:
    """The sidecar's digest and whether one is offered. Every wheel has one: we read it from the wheel if need be."""
    if isinstance(value, dict):
        digest = value.get("sha256")
        sha256 = parse_sha256(digest) if isinstance(digest, str) else None
        return sha256, sha256 is None
    return None, value is True or filename.lower().endswith(".whl")


def _digests(hashes: Any) -> dict[str, str]:
    if not isinstance(hashes, dict):
        return {}
    digest = hashes.get("sha256")
    if len(hashes) == 1 and isinstance(digest, str):  # what nearly every page has
        sha256 = parse_sha256(digest)
        return {"sha256": sha256} if sha256 else {}
    return clean_digests(hashes)


def _size(value: Any) -> int | None:
    if isinstance(value, bool):
        return None
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return value if isinstance(value, int) and 0 <= value < _SIZE_LIMIT else None


def _upload_time(value: Any) -> Timestamp | None:
    moment = from_rfc3339(value) if isinstance(value, str) else None
    return None if moment is None or moment >= _TIME_LIMIT else moment


def _gpg_sig(value: Any) -> bool | None:
    """False passes; True would promise `<file>.asc` (FI-8), which no mirror of ours serves: nothing is said then."""
    return False if value is False else None


def _provenance(value: Any) -> str:
    """PEP 740: a fully qualified URL of a secure origin, or nothing."""
    if isinstance(value, str) and value.lower().startswith("https://"):
        return urls.cleaned(value) or ""
    return ""


def _text(value: Any) -> str:
    """A string that can be stored and shown: no lone surrogates, no control characters, not endless."""
    if not isinstance(value, str):
        return ""
    if value.isprintable():
        return value[:TEXT_LIMIT].strip()
    readable = value.encode("utf-8", "replace").decode()
    return "".join(c if c.isprintable() else " " for c in readable[:TEXT_LIMIT]).strip()


def _versions(values: Any) -> tuple[str, ...]:
    if not isinstance(values, list):
        return ()
    kept = (_text(value) for value in values if isinstance(value, str) and len(value) <= _VERSION_LIMIT)
    return tuple(dict.fromkeys(version for version in kept if version))


def _status(value: Any, notes: Notes) -> str:
    if value is None or value == "":
        return ""
    if isinstance(value, str) and value in STATUSES:
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


def _unique(files: Iterable[File | None], notes: Notes) -> tuple[File, ...]:
    found: dict[str, File] = {}
    for file in files:
        if file is None:
            continue
        if file.filename in found:
            notes.add(f"{file.filename!r} is listed twice; the first is taken")
        else:
            found[file.filename] = file
    return tuple(found.values())


def _any_json(body: bytes) -> dict[str, Any] | None:
    """The standard library's reader takes NaN, 1e400 and odd escapes, which some generators write."""
    try:
        document = json.loads(body.removeprefix(codecs.BOM_UTF8))
    except (ValueError, RecursionError):
        return None
    return document if isinstance(document, dict) else None


def _read_html_page(document: str, url: str, project: ProjectName) -> PageListing | Unreadable:
    problem = html_problem(document)
    if problem:
        return Unreadable(problem)
    notes = Notes()
    files: list[File | None] = []
    meta: dict[str, str] = {}
    base = url
    for tag in tags(document):
        if isinstance(tag, Unreadable):
            return tag
        if tag.name == "a":
            file = _file_of_anchor(tag, base, project, notes)
            if file is not None:
                files.append(file)
        elif tag.name == "base":
            base = urls.cleaned(tag.attributes.get("href", ""), url) or base
        else:
            meta.setdefault(tag.attributes.get("name", "").lower(), tag.attributes.get("content", ""))
    version = meta.get("pypi:repository-version")
    if version is None and not files and not LOOKS_LIKE_INDEX.search(document):
        return Unreadable("the upstream answered with an HTML page that is no package page")
    refused = check_version(version, notes)
    if refused:
        return refused
    return PageListing(
        display_name=project,
        files=_unique(files, notes),
        versions=(),
        status=_status(meta.get("pypi:project-status"), notes),
        status_reason=_text(meta.get("pypi:project-status-reason")),
        notes=notes.lines(),
    )


def _file_of_anchor(tag: Tag, base: str, project: ProjectName, notes: Notes) -> File | None:
    attributes = tag.attributes
    href = attributes.get("href", "").strip()
    link, _, fragment = href.partition("#")
    filename = next((name for name in (urls.last_segment(link), tag.text) if kind_of(name) != "other"), "")
    if not filename:
        return None  # "home page" and its like
    problem = filename_problem(filename)
    url = urls.cleaned(link, base)
    if problem or url is None:
        notes.add(
            f"a file was left out: {problem}" if problem else f"{filename!r} was left out: its URL is no http(s) URL"
        )
        return None
    algorithm, _, digest = fragment.partition("=")
    metadata: Any = attributes.get("data-core-metadata", attributes.get("data-dist-info-metadata"))
    if metadata is not None:
        kind, equals, value = metadata.partition("=")
        metadata = {kind.strip().lower(): value} if equals else metadata.strip().lower() != "false"
    metadata_sha256, offered = _core_metadata(metadata, filename)
    yanked = attributes.get("data-yanked")
    signed = attributes.get("data-gpg-sig")
    return File(
        filename=filename,
        version=version_in(filename, project),
        digests=_digests({algorithm.lower(): digest.partition("&")[0]}),
        requires_python=_text(attributes.get("data-requires-python")),
        # HT-7: the attribute alone yanks, whatever it says.
        yanked=False if yanked is None else _text(yanked) or True,
        metadata_sha256=metadata_sha256,
        metadata_offered=offered,
        provenance=_provenance(attributes.get("data-provenance")),
        gpg_sig=_gpg_sig(None if signed is None else signed.strip().lower() == "true"),
        url=url,
    )
