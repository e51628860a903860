"""One project in a static tree: which objects it has, and their bytes.

    simple/NAME/index.html  index.json          the page, as the server writes it
    pypi/NAME/json  pypi/NAME/VERSION/json      PyPI's documents about the project and its versions
    files/NAME/0123456789abcdef/FILENAME        a file, and FILENAME.metadata beside it: sixteen digits of the sha256

A file lies below its project, so that a file that is dropped is found without looking at other projects, and under its digest, so that
the answer of its URL never changes. `+` is not used as in the URLs of the server: object stores read it as a space.

Pure: a project and the layout give all bytes, whether they are written for the first time or again.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Final

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from pkgindex_core.clock import Timestamp
from pkgindex_core.digests import Sha256
from pkgindex_core.formats.fragments import fragment
from pkgindex_core.formats.project_json import ProjectFacts, newest, project_json
from pkgindex_core.formats.versions import canonical_version
from pkgindex_core.models import File, PageRow, Serial, encode_file
from pkgindex_core.names import IndexName, ProjectName
from pkgindex_core.protocols.policies import MergedPage, PageEntry, Renderer

PAGE_NAMES: Final[Mapping[str, str]] = {
    "text/html": "index.html",
    "application/vnd.pypi.simple.v1+json": "index.json",
}
"""The name of a page by its media type. A web server of files chooses between them."""
UP: Final = "../../"
"""From a page to the root of the tree."""
_IN_TREE: Final = re.compile(
    r"simple/([^/]+/)?index\.(html|json)|pypi/[^/]+/([^/]+/)?json|files/[^/]+/[0-9a-f]{16}/[^/]+|changelog/page[1-9][0-9]*\.html"
).fullmatch
_SEGMENT_BYTES: Final = 240
"""Of a name in a tree; file systems take 255, and a name is longer while it is written."""


class StaticFile(Struct, frozen=True, array_like=True):
    """A file as a static index lists it, for pages about many projects."""

    filename: str
    version: str
    uploaded: Timestamp | None
    """Microseconds since the epoch."""
    uploader: str
    line: bytes
    """The file as a line of `packages.json`."""


class StaticProject(Struct, frozen=True, kw_only=True):
    """A project to be written."""

    page: MergedPage
    """Its entries have their links in the tree (`linked`)."""
    metadata: Mapping[str, bytes] = {}
    """JSON documents with the keys of `version_documents`, by `canonical_version`."""
    files: tuple[StaticFile, ...] = ()
    placed: Mapping[str, Sha256] = {}
    """The blobs that belong into the tree, by path."""
    elsewhere: Mapping[str, tuple[IndexName, File]] = {}
    """The blobs of `placed` that a source keeps outside of the blob store, by path: the index, and the file itself or the file of the sidecar."""


class ProjectObjects(Struct, frozen=True, kw_only=True):
    """The objects of a project in a tree."""

    version: str
    """The version that stands for it; empty when it has none."""
    summary: str
    written: Mapping[str, bytes]
    """Bytes by path."""


def is_segment(name: str) -> bool:
    """Whether a name can be one of a path in any tree: a file system's, an object store's, a URL's.

    >>> [is_segment(each) for each in ("demo-1.0.tar.gz", "", "..", "a/b", "a" * 300)]
    [True, False, False, False, False]
    """
    return (
        name not in {"", ".", ".."}
        and name.isprintable()
        and not set(name) & {"/", "\\"}
        and len(name.encode("utf-8", "replace")) <= _SEGMENT_BYTES
    )


def has_tree_form(path: str) -> bool:
    """Whether an object of a tree may have this path below `simple`, `pypi`, `files` and `changelog`.

    >>> [has_tree_form(each) for each in ("simple/demo/index.html", "simple/style.css", "files/2024/report.pdf")]
    [True, False, False]
    """
    return _IN_TREE(path) is not None


def file_place(project: ProjectName, sha256: Sha256, filename: str) -> str:
    """Where a file lies in the tree."""
    return f"files/{project}/{sha256[:16]}/{filename}"


def linked(file: File, prefix: str, path: str, origin: IndexName) -> PageEntry:
    """A file of a page with a link of its own, `prefix` and `path`, both percent-encoded."""
    _, _, public = fragment(file).partition(b'",')
    row = PageRow(file.filename, file.version, path.encode() + b'",' + public, encode_file(file))
    return PageEntry(prefix, origin, row)


def project_objects(
    project: StaticProject, renderers: Iterable[Renderer], *, per_release: bool = True
) -> ProjectObjects:
    """Write all objects of one project. Without `per_release` its versions have no documents of their own."""
    page, name = project.page, project.page.project
    written = {f"simple/{name}/{PAGE_NAMES[each.media_type]}": each.page(page) for each in renderers}
    version = newest(page)
    metadata = project.metadata.get(canonical_version(version), b"{}")
    facts = ProjectFacts(page=page, version=version, metadata=metadata, root=f"{UP}simple/")
    written[f"pypi/{name}/json"] = project_json(facts, releases=True)
    if per_release:
        for each, lower in _lowered(page):
            if is_segment(each) and each != "json":
                of_version = project.metadata.get(canonical_version(each), b"{}")
                facts = ProjectFacts(page=lower, version=each, metadata=of_version, root=f"../{UP}simple/")
                written[f"pypi/{name}/{each}/json"] = project_json(facts, releases=False)
    return ProjectObjects(version=version, summary=_summary(metadata), written=written)


def _lowered(page: MergedPage) -> Iterator[tuple[str, MergedPage]]:
    """Each version with a page of that version alone. Its links fit a document one level further down.

    The page has no serial: the document of a version changes with that version, not with others of the project.
    """
    entries: dict[str, list[PageEntry]] = {canonical_version(version): [] for version in page.versions}
    for entry in page.entries:
        found = entries.get(canonical_version(entry.row.version))
        if found is not None:
            prefix = f"../{entry.prefix}" if entry.prefix.startswith("../") else entry.prefix
            found.append(PageEntry(prefix, entry.origin, entry.row))
    for version in page.versions:
        own = tuple(entries[canonical_version(version)])
        yield version, replace(page, entries=own, versions=(version,), serial=Serial(0))


def _summary(metadata: bytes) -> str:
    return str(msgspec.json.decode(metadata).get("summary") or "")
