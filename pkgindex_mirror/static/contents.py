"""The two kinds of `TreeContent`: an index in a store, and a list of packages in the form of dumb-pypi."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import TYPE_CHECKING

import msgspec

from pkgindex_core.formats.fragments import quoted
from pkgindex_core.formats.html_page import HtmlRenderer
from pkgindex_core.formats.json_page import JsonRenderer
from pkgindex_core.formats.package_lists import ListedPackage, PackageList, encode_line
from pkgindex_core.formats.static_tree import StaticFile, StaticProject, linked
from pkgindex_core.formats.versions import canonical_version
from pkgindex_core.models import Page, PageHead, Serial
from pkgindex_core.names import IndexName, ProjectName
from pkgindex_core.protocols import Place, Renderer
from pkgindex_core.rules.merging import merge
from pkgindex_core.rules.negotiation import TEXT_HTML
from pkgindex_core.services.moving.static_projects import StaticProjects, StaticView, Survey
from pkgindex_core.services.moving.static_sources import StaticSources
from pkgindex_mirror.static.catalogue import Catalogue
from pkgindex_mirror.static.state import TreeState
from pkgindex_mirror.static.tree_content import TreeContent

_LIST = IndexName("package/list")


class IndexContent:
    """An index of a store, as one reader sees it."""

    def __init__(self, projects: StaticProjects, sources: StaticSources, view: StaticView, identity: str) -> None:
        self._projects = projects
        self._sources = sources
        self._view = view
        self.identity = f"{identity} {view.start}"
        self.renderers: Sequence[Renderer] = projects.renderers

    async def survey(self, state: TreeState | None, catalogue: Catalogue) -> Survey:  # noqa: ARG002 - the store knows what has changed
        return await self._projects.survey(self._view, since=(state.serial, state.recipe) if state else None)

    async def read(self, project: ProjectName) -> StaticProject | None:
        return await self._projects.read(self._view, project)

    async def bring(self, project: StaticProject, path: str) -> Place | None:
        return await self._sources.bring(project, path)


class ListContent:
    """A list of packages. A list has no serial, so its lines are compared with those of the tree.

    After an unfinished run all are looked at: the tree may have projects of a list that neither the catalogue nor this list has.
    """

    def __init__(self, packages: PackageList, packages_url: str) -> None:
        self._files = packages.files
        self._prefix = packages_url.rstrip("/") + "/"
        self.identity = "a list of packages"
        self.renderers: Sequence[Renderer] = (HtmlRenderer(TEXT_HTML), JsonRenderer())

    async def survey(self, state: TreeState | None, catalogue: Catalogue) -> Survey:
        parts = (self._prefix, [each.fingerprint for each in self.renderers])
        recipe = hashlib.sha256(msgspec.msgpack.encode(parts)).hexdigest()
        is_whole = state is None or state.recipe != recipe or state.unfinished != ""
        names = frozenset(self._files)
        if not is_whole:
            there = await catalogue.packages()
            names = frozenset(
                name for name in names | there.keys() if there.get(name) != _lines(self._files.get(name, ()))
            )
        return Survey(serial=Serial(0), recipe=recipe, names=names, is_whole=is_whole)

    async def read(self, project: ProjectName) -> StaticProject | None:
        listed = _in_order(self._files.get(project, ()))
        if not listed:
            return None
        entries = [linked(each.file, self._prefix, quoted(each.file.filename), _LIST) for each in listed]
        page = Page(
            index=_LIST,
            project=project,
            stamp=Serial(0),
            head=PageHead(),
            rows=tuple(entry.row for entry in entries),
        )
        metadata: dict[str, bytes] = {}
        for each in listed:
            if each.line.requires_dist is not None:
                document = msgspec.json.encode({"requires_dist": each.line.requires_dist})
                metadata.setdefault(canonical_version(each.file.version), document)
        return StaticProject(
            page=merge(project, [(_LIST, self._prefix, page)]),
            metadata=metadata,
            files=tuple(
                StaticFile(
                    each.file.filename,
                    each.file.version,
                    each.file.upload_time,
                    each.line.uploaded_by or "",
                    encode_line(each.line),
                )
                for each in listed
            ),
        )

    async def bring(self, project: StaticProject, path: str) -> Place | None:
        raise NotImplementedError("the files of a list stay where they are")


def _in_order(files: Sequence[ListedPackage]) -> list[ListedPackage]:
    """The files in the order of every run, whatever the order of the list."""
    return sorted(files, key=lambda each: each.file.filename)


def _lines(files: Sequence[ListedPackage]) -> bytes:
    return b"".join([encode_line(each.line) + b"\n" for each in _in_order(files)])


if TYPE_CHECKING:
    _index: type[TreeContent] = IndexContent
    _list: type[TreeContent] = ListContent
