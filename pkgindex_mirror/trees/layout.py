"""The places of everything in a mirror's tree. Pure.

    status  generation  todo  .lock         what bandersnatch keeps of its runs
    .pkgindex/…                             what this program keeps
    web/simple/index.html  .v1_html  .v1_json
    web/simple/NAME/index.html  …           or web/simple/N/NAME/…
    web/simple/NAME/versions/index_SERIAL_TIME.html  …
    web/packages/AA/BB/60 DIGITS/FILENAME   and FILENAME.metadata
    web/json/NAME  web/pypi/NAME/json       JSON documents
    web/last-modified

A file keeps its path at the upstream, if that has this form. Otherwise the digits are those of its blake2b-256 or sha256. Paths are
relative to the directory of the mirror, with `/` between segments.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Final
from urllib.parse import unquote, urlsplit

from pkgindex_core.errors import Refused
from pkgindex_core.formats.static_tree import is_segment
from pkgindex_core.models import File
from pkgindex_core.names import ProjectName, normalized_or_none
from pkgindex_mirror.documents.page_fields import filename_problem
from pkgindex_mirror.trees.options import TreeOptions

WEB: Final = "web"
SIMPLE: Final = "web/simple"
PACKAGES: Final = "web/packages"
DOCUMENTS: Final = "web/json"
DOCUMENT_COPIES: Final = "web/pypi"
LAST_MODIFIED: Final = "web/last-modified"
STATUS: Final = "status"
GENERATION: Final = "generation"
TODO: Final = "todo"
LOCK: Final = ".lock"
OWN: Final = ".pkgindex"
DATABASE: Final = ".pkgindex/mirror.db"

HTML: Final = "index.html"
VERSIONED_HTML: Final = "index.v1_html"
VERSIONED_JSON: Final = "index.v1_json"
PAGES: Final = (HTML, VERSIONED_HTML, VERSIONED_JSON)

SIDECAR: Final = ".metadata"
_BESIDE: Final = "beside"
"""In the digests of a metadata file: the digits in the path of its wheel."""
_IN_PACKAGES = re.compile(r"/packages/([0-9a-f]{2})/([0-9a-f]{2})/([0-9a-f]{60})/([^/]+)")


class TreeLayout:
    """The places for one set of options."""

    def __init__(self, options: TreeOptions) -> None:
        self._is_hashed = options.hash_index

    def page_directory(self, name: ProjectName) -> str:
        return f"{SIMPLE}/{name[0]}/{name}" if self._is_hashed else f"{SIMPLE}/{name}"

    def raw_directory(self, raw: str) -> str:
        """Where the pages of a project lay before names were normalised."""
        return f"{SIMPLE}/{raw[0]}/{raw}" if self._is_hashed else f"{SIMPLE}/{raw}"

    def other_page_directory(self, name: ProjectName) -> str:
        """Where the pages would lie if `hash_index` had the other value."""
        return f"{SIMPLE}/{name}" if self._is_hashed else f"{SIMPLE}/{name[0]}/{name}"

    def pages(self, name: ProjectName) -> Sequence[str]:
        directory = self.page_directory(name)
        return [f"{directory}/{page}" for page in PAGES]


def document(name: ProjectName) -> str:
    return f"{DOCUMENTS}/{name}"


def document_copy(name: ProjectName) -> str:
    return f"{DOCUMENT_COPIES}/{name}/json"


def file_path(file: File) -> str:
    """The path of a file. `Refused` when its name cannot be one of a path, such as `..`."""
    if not has_place(file):
        raise Refused(
            f"the file {file.filename[:80]!r} cannot have a place in a tree",
            hint="its upstream should not list such a name",
        )
    digits = _spread_digest(file)
    return f"{PACKAGES}/{digits[:2]}/{digits[2:4]}/{digits[4:]}/{file.filename}"


def is_sidecar(file: File) -> bool:
    """Whether a file was made by `sidecar_of`."""
    return _BESIDE in file.digests


def has_place(file: File) -> bool:
    """Whether the name of a file can be one of a path, and is not that of another file's metadata."""
    return _can_be_segment(file.filename) and (not file.filename.endswith(SIDECAR) or is_sidecar(file))


# A file is asked for several times within a moment: what is missing, where it goes, and what its page says.
@lru_cache(maxsize=4096)
def _can_be_segment(filename: str) -> bool:
    return not filename_problem(filename) and is_segment(filename + SIDECAR)


def sidecar_of(file: File) -> File | None:
    """The metadata file of a wheel, as a file of its own; None when the upstream gives no digest of one."""
    if file.metadata_sha256 is None or file.metadata_refuted == file.metadata_sha256:
        return None
    link, separator, query = file.url.partition("?")
    return File(
        filename=file.filename + SIDECAR,
        version=file.version,
        # It lies beside the wheel also if the upstream has another layout, so it says where that is.
        digests={"sha256": file.metadata_sha256, _BESIDE: _spread_digest(file)},
        upload_time=file.upload_time,
        url=f"{link}{SIDECAR}{separator}{query}" if file.url else "",
    )


def sidecar_path(file: File) -> str:
    return file_path(file) + SIDECAR


def local_path(url: str) -> str | None:
    """The path in a tree to which a link of a page leads; None when it leads to no file of this layout."""
    found = _IN_PACKAGES.search(urlsplit(url).path)
    if found is None or found.end() != len(urlsplit(url).path):
        return None
    filename = unquote(found[4])
    return f"{PACKAGES}/{found[1]}/{found[2]}/{found[3]}/{filename}" if is_segment(filename) else None


def names_in(entries: Sequence[str]) -> Iterator[ProjectName]:
    """Those of the names in a directory that are names of projects in their normal form."""
    for entry in entries:
        if normalized_or_none(entry) == entry:
            yield ProjectName(entry)


def _spread_digest(file: File) -> str:
    """The 64 digits in the path of a file."""
    if beside := file.digests.get(_BESIDE):
        return beside
    if upstream := _digits_in(file.url):
        return upstream
    return file.digests.get("blake2b_256") or file.sha256 or hashlib.sha256(file.url.encode()).hexdigest()


@lru_cache(maxsize=4096)
def _digits_in(url: str) -> str:
    """The 64 digits in the path of a URL of this layout; empty for another one."""
    upstream = _IN_PACKAGES.search(urlsplit(url).path)
    return "" if upstream is None else "".join(upstream.group(1, 2, 3))
