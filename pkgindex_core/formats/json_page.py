"""The simple API in JSON (PEP 691 with 700, 714, 740 and 792): version 1.4; with namespaces (PEP 752) version 1.5.

A page is joined from fragments, which were encoded when the files were stored (see `fragments`), without decoding them. The
prefix of each link depends on the URL of the page and is put between them. If all files come from one index the prefix is
always the same, and the page is a single join. A page that is kept in one piece is joined already (see `kept_pages`).

Optional keys are left out, never null: uv rejects a page for one null.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import Struct, field

from pkgindex_core.formats.batches import written_in_batches
from pkgindex_core.formats.kept_pages import KeptEntries
from pkgindex_core.formats.page_sections import Around
from pkgindex_core.formats.provenance_links import any_links, linked
from pkgindex_core.models import PageHead, Serial
from pkgindex_core.protocols.policies import MergedPage, PageEntry, ProjectList, Renderer
from pkgindex_core.rules.negotiation import JSON_V1

API_VERSION = "1.4"
NAMESPACES_VERSION = "1.5"

_JOINT = b","
_encode = msgspec.json.Encoder().encode


class JsonRenderer:
    """Writes pages and lists as `application/vnd.pypi.simple.v1+json`. `public_url`: as `Context.public_url`, for links to provenance."""

    def __init__(self, public_url: str = "") -> None:
        self._public_url = public_url

    @property
    def media_type(self) -> str:
        return JSON_V1  # no charset: some clients compare the header as a string

    @property
    def fingerprint(self) -> str:
        return f"json-1.4-4 {self._public_url}"

    def page(self, page: MergedPage) -> bytes:
        opening, middle, end = self.frame(page)
        before = opening + _encode(page.versions)[1:-1] + middle
        if isinstance(page.entries, KeptEntries):
            prefix = page.entries.prefix
            files = linked(page.entries.json(), prefix, page.entries.origin, self._public_url)
            return b"".join((before[:-1], files, end[1:]))
        write = partial(_files, public_url=self._public_url)
        return written_in_batches(before, write, page.entries, joint=_JOINT, end=end)

    def around(self, prefix: str) -> Around:
        """The bytes around fragments."""
        return Around(_opening(prefix), b"}", _JOINT)

    def frame(self, page: MergedPage) -> tuple[bytes, bytes, bytes]:
        """The bytes before the versions of a page, those between the versions and the files, and those behind the files."""
        head: dict[str, Any] = {"meta": _meta(page.serial), "name": page.project}
        if page.namespaces is not None:
            head["meta"]["api-version"] = NAMESPACES_VERSION
            head["namespaces"] = page.namespaces or None  # PEP 752: null where there is none
        if page.head.status:
            head["project-status"] = _status(page.head)
        return _encode(head)[:-1] + b',"versions":[', b'],"files":[', b"]}"

    def versions(self, versions: Sequence[str], *, first: bool) -> bytes:
        """Some versions, one at least; `first`: no others come before."""
        listed = _encode(versions)[1:-1]
        return listed if first else b"," + listed

    def pieces(self, entries: Sequence[PageEntry]) -> list[bytes]:
        """The text of each file without the bytes around it."""
        pieces = [each.row.fragment for each in entries]
        if not any_links(pieces):
            return pieces
        return [linked(each.row.fragment, each.prefix, each.origin, self._public_url) for each in entries]

    def list_start(self, serial: Serial) -> bytes:
        return _encode({"meta": _meta(serial)})[:-1] + b',"projects":['

    def list_part(self, part: ProjectList, *, first: bool) -> bytes:
        """`first` is true until a part with names was written."""
        if not part.names:
            return b""
        listed = _encode([_ListedProject(row.display_name or row.name, row.stamp) for row in part.names])[1:-1]
        return listed if first else b"," + listed

    def list_end(self, serial: Serial) -> bytes:  # noqa: ARG002  # the serial is at the start, in `meta`
        return b"]}"


class _ListedProject(Struct, gc=False):
    name: str
    # A private key (PEP 700) of PyPI. bandersnatch lists nothing without it.
    serial: Serial = field(name="_last-serial")


def _meta(serial: Serial) -> dict[str, Any]:
    # PEP 700: private keys begin with an underscore. This key is PyPI's, and mirrors read it.
    return {"api-version": API_VERSION, "_last-serial": serial}


def _status(head: PageHead) -> dict[str, str]:
    """PEP 792, "JSON index": an object at the top level, as PyPI has it."""
    status = {"status": head.status}
    if head.status_reason:
        status["reason"] = head.status_reason
    return status


def _files(start: bytes, entries: Sequence[PageEntry], public_url: str) -> bytes:
    """Append some files to `start` in one join: copying is the main cost of writing megabytes."""
    openings = _openings(entries)
    first = entries[0]
    if len(openings) == 1:  # a prefix leads to one index
        (opening,) = openings.values()
        joint = b"}," + opening
        parts = [entry.row.fragment for entry in entries]
        parts[0] = start + opening + parts[0]
        parts[-1] += b"}"
        return linked(joint.join(parts), first.prefix, first.origin, public_url)
    parts = [
        openings[entry.prefix] + linked(entry.row.fragment, entry.prefix, entry.origin, public_url) for entry in entries
    ]
    parts[0] = start + parts[0]
    parts[-1] += b"}"
    return b"},".join(parts)


def _openings(entries: Sequence[PageEntry]) -> dict[str, bytes]:
    """The beginnings of files' objects by the prefixes of their links."""
    return {prefix: _opening(prefix) for prefix in {entry.prefix for entry in entries}}


def _opening(prefix: str) -> bytes:
    return b'{"url":' + _encode(prefix)[:-1]


if TYPE_CHECKING:
    _: type[Renderer] = JsonRenderer
