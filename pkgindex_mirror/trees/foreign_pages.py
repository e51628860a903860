"""Reads the pages and JSON documents of a tree that another program wrote. Pure.

A wrong field spoils only itself, and what cannot be read as a whole is None.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from pkgindex_core.digests import clean_digests
from pkgindex_core.formats.filenames import version_in
from pkgindex_core.models import File, PageHead
from pkgindex_core.names import ProjectName
from pkgindex_mirror.documents.page_fields import filename_problem, size, text, upload_time
from pkgindex_mirror.documents.pages import PageListing, read_page
from pkgindex_mirror.syncing.values import UpstreamProject
from pkgindex_mirror.trees.layout import local_path

_NOWHERE: Final = "https://tree.invalid/simple/name/"
"""Links of pages are relative to a URL; of this one only the path is used."""


class ShownProject(Struct, frozen=True):
    """A project as its page in a tree shows it."""

    project: UpstreamProject
    serial: int | None


def shown_projects(pages: Sequence[tuple[ProjectName, bytes | None]], kind: str) -> dict[ProjectName, ShownProject]:
    """The projects whose pages can be read."""
    found = {}
    for name, page in pages:
        project = _shown(name, page, kind)
        if project is not None:
            found[name] = ShownProject(project, serial_in(page) if kind == "json" else _serial_of_html(page))
    return found


def _shown(name: ProjectName, body: bytes | None, kind: str) -> UpstreamProject | None:
    """The project as its page in the tree shows it; None when that cannot be read."""
    if body is None:
        return None
    listing = read_page(body, f"text/{kind}", _NOWHERE, name)
    if not isinstance(listing, PageListing) or listing.doubt:
        return None
    files = tuple(replace(file, url=_upstream_url(file)) for file in listing.files)
    head = PageHead(
        display_name=listing.display_name,
        versions=listing.versions,
        status=listing.status,
        status_reason=listing.status_reason,
    )
    return UpstreamProject(name=name, raw=listing.display_name, head=head, files=files)


def _upstream_url(file: File) -> str:
    """The URL of a file of a page, as far as the page tells: the path alone, if the link is relative."""
    path = local_path(file.url)
    if file.url.startswith("https://tree.invalid/") and path is not None:
        return path.removeprefix("web")
    return file.url


class _ReleaseFile(Struct):
    """A file in a JSON document. Wrong types spoil their own field only."""

    filename: Any = None
    url: Any = None
    digests: Any = None
    size: Any = None
    upload_time_iso_8601: Any = None
    requires_python: Any = None
    yanked: Any = False
    yanked_reason: Any = None


class _DocumentInfo(Struct):
    name: Any = None


class _DocumentFields(Struct):
    releases: dict[str, list[_ReleaseFile]]
    info: _DocumentInfo
    last_serial: Any = None


_documents = msgspec.json.Decoder(_DocumentFields)


def project_of_document(name: ProjectName, body: bytes) -> UpstreamProject | None:
    """The project as its JSON document describes it; None when that cannot be read."""
    try:
        found = _documents.decode(body)
    except (msgspec.DecodeError, RecursionError):
        return None
    files = [file for each in found.releases.values() for one in each if (file := _file(name, one)) is not None]
    raw = text(found.info.name) or name
    head = PageHead(display_name=raw, versions=tuple(version for version in map(text, found.releases) if version))
    by_name = {file.filename: file for file in files}
    return UpstreamProject(
        name=name, raw=raw, head=head, files=tuple(by_name[each] for each in sorted(by_name)), document=body
    )


def _file(name: ProjectName, found: _ReleaseFile) -> File | None:
    filename = found.filename
    if filename_problem(filename) or not isinstance(found.url, str):
        return None
    return File(
        filename=filename,
        version=version_in(filename, name),
        digests=clean_digests(found.digests) if isinstance(found.digests, dict) else {},
        size=size(found.size),
        upload_time=upload_time(found.upload_time_iso_8601),
        requires_python=text(found.requires_python),
        yanked=(text(found.yanked_reason) or True) if found.yanked is True else False,
        url=found.url,
    )


class _Serials(Struct):
    last_serial: Any = None
    meta: Any = None


def serial_in(body: bytes | None) -> int | None:
    """The serial of a JSON document or page."""
    try:
        found = msgspec.json.decode(body or b"{}", type=_Serials)
    except (msgspec.DecodeError, RecursionError):
        return None
    value = found.last_serial
    if value is None and isinstance(found.meta, dict):
        value = found.meta.get("_last-serial")
    number = str(value) if isinstance(value, int | str) and not isinstance(value, bool) else ""
    return int(number) if number.isdigit() and len(number) < 19 else None


def _serial_of_html(body: bytes | None) -> int | None:
    _, mark, rest = (body or b"").rpartition(b"<!--SERIAL ")
    number = rest.partition(b"-->")[0].strip()
    return int(number) if mark and number.isdigit() and len(number) < 19 else None
