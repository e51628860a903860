"""The bytes of all pages of a mirror's tree. Pure.

Pages have what the upstream says: reasons of yanks, the status of a project, provenance, sizes, times and serials as numbers. So a
tree can be mirrored in its turn. Files are in the order of their names, as bandersnatch has them.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from pkgindex_core.formats.fragments import quoted
from pkgindex_core.formats.html_page import HtmlRenderer
from pkgindex_core.formats.json_page import JsonRenderer
from pkgindex_core.formats.static_tree import linked
from pkgindex_core.formats.versions import canonical_version, version_key
from pkgindex_core.models import File, ProjectRow, Serial
from pkgindex_core.names import IndexName
from pkgindex_core.protocols.policies import MergedPage, PageEntry, ProjectList, Renderer
from pkgindex_mirror.syncing.values import UpstreamProject
from pkgindex_mirror.trees.layout import WEB, file_path
from pkgindex_mirror.trees.options import TreeOptions

_HTML: Final = HtmlRenderer()
_JSON: Final = JsonRenderer()
_NOWHERE: Final = IndexName("mirror/tree")
"""Links of a tree name no index."""


class ProjectPages(Struct, frozen=True):
    """The pages of one project, or of the list of projects. Empty: the options exclude this format."""

    html: bytes
    json: bytes


def project_pages(
    project: UpstreamProject, chosen: Sequence[File], *, serial: int, sidecars: Collection[str], options: TreeOptions
) -> ProjectPages:
    """Write the pages of a project. `sidecars`: the filenames of wheels whose metadata file is in the tree."""
    page = MergedPage(
        project=project.name,
        head=replace(project.head, display_name=project.raw or project.head.display_name),
        versions=_versions(project, chosen),
        entries=[
            _entry(file, options, has_sidecar=file.filename in sidecars)
            for file in sorted(chosen, key=lambda file: file.filename)
        ],
        serial=Serial(serial),
    )
    return ProjectPages(
        html=_HTML.page(page) if options.has_html else b"", json=_JSON.page(page) if options.has_json else b""
    )


class ListPages:
    """The pages that list all projects, put together batch by batch in the order of names."""

    def __init__(self, serial: int, options: TreeOptions) -> None:
        self._serial = Serial(serial)
        self._parts: dict[Renderer, list[bytes]] = {}
        for renderer, is_wanted in ((_HTML, options.has_html), (_JSON, options.has_json)):
            if is_wanted:
                self._parts[renderer] = [renderer.list_start(self._serial)]
        self._is_first = True

    def add(self, rows: Sequence[ProjectRow]) -> None:
        for renderer, parts in self._parts.items():
            parts.append(renderer.list_part(ProjectList(names=rows), first=self._is_first))
        self._is_first = self._is_first and not rows

    def finish(self) -> ProjectPages:
        html, json = (
            b"".join([*self._parts.pop(renderer), renderer.list_end(self._serial)]) if renderer in self._parts else b""
            for renderer in (_HTML, _JSON)
        )
        return ProjectPages(html=html, json=json)


def _versions(project: UpstreamProject, chosen: Sequence[File]) -> tuple[str, ...]:
    """The versions of the chosen files, and those that have no files at the upstream either."""
    spelled = {canonical_version(version): version for version in _versions_of(chosen)}
    with_files = {canonical_version(version) for version in _versions_of(project.files)}
    for version in project.head.versions:
        canonical = canonical_version(version)
        if canonical in spelled or canonical not in with_files:
            spelled[canonical] = version
    return tuple(sorted(spelled.values(), key=version_key))


def _versions_of(files: Iterable[File]) -> Iterator[str]:
    return (file.version for file in files if file.version)


def _entry(file: File, options: TreeOptions, *, has_sidecar: bool) -> PageEntry:
    digest = file.digests.get(options.digest_name)
    # The metadata file of an upstream is beside its file, if it has a digest.
    offers = has_sidecar if options.release_files else options.core_metadata
    shown = replace(
        file,
        digests={options.digest_name: digest} if digest else file.digests,
        metadata_sha256=file.metadata_sha256 if offers else None,
        metadata_offered=False,
    )
    if not options.release_files and not options.root_uri:
        directory, slash, filename = file.url.rpartition("/")
        return linked(shown, directory + slash, filename, _NOWHERE)
    prefix = options.root_uri.rstrip("/") or "../.."
    directory, _, filename = file_path(file).removeprefix(f"{WEB}/").rpartition("/")
    return linked(shown, f"{prefix}/", f"{directory}/{quoted(filename)}", _NOWHERE)
