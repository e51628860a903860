"""A project, or one of its versions, for people: `/{user}/{index}/{project}[/{version}]` in a browser.

Each fact is labelled by the party that vouches for it: this index, an upstream, or the file's own metadata.
"""

from __future__ import annotations

from typing import Any, Final
from urllib.parse import quote, urlsplit

from pkgindex_core.clock import minute_of
from pkgindex_core.errors import PkgIndexError
from pkgindex_core.formats.fragments import file_path, quoted
from pkgindex_core.formats.project_outlines import attachment_path
from pkgindex_core.models import File
from pkgindex_core.protocols import PageEntry
from pkgindex_core.rules.permissions import Action, permits
from pkgindex_core.services.reading.searching import FoundProjects
from pkgindex_core.services.reading.showing import ProjectView
from pkgindex_http.devpi.projects import to_normalized
from pkgindex_http.pages.described import dependency, links_of, metadata_of
from pkgindex_http.pages.differences import version_before
from pkgindex_http.pages.files import page_number
from pkgindex_http.pages.layout import reading_page
from pkgindex_http.pasting import installing_lines
from pkgindex_http.requests import Ask
from pkgindex_http.wire.replies import Reply

FILES: Final = 100
"""The files, and the versions, of one page."""
_DEPENDANTS: Final = 10
_SIZING_SECONDS: Final = 0.2
"""Seconds that a page waits for the sizes of dependencies. They are known at a later load."""


async def project(ask: Ask) -> Reply:
    """The page."""
    if ask.values["project"] != ask.project:
        return to_normalized(ask)
    version = ask.values.get("version")
    shown = await ask.engine.showing.project(ask.index, ask.project, version, principal=ask.principal)
    metadata, voucher, missing = await metadata_of(ask, shown)
    number = page_number(ask.query("page"))
    config = shown.resolution.tree.indexes[ask.index]
    files = [_file_row(ask, shown, *each) for each in shown.files[(number - 1) * FILES : number * FILES]]
    versions = shown.page.versions[::-1]
    wanted = str(ask.project) if version is None else f"{ask.project}=={shown.version}"
    return await reading_page(
        ask,
        "pages/project.html",
        index=ask.index,
        project=ask.project,
        display=metadata.get("name") or shown.page.head.display_name or ask.project,
        shown=shown,
        metadata=metadata,
        voucher=voucher,
        missing=missing,
        description=await ask.descriptions.rendered(
            metadata.get("description") or "", metadata.get("description_content_type") or ""
        ),
        links=links_of(metadata),
        dependencies=[dependency(each) for each in metadata.get("requires_dist") or ()],
        dependants=await _dependants(ask),
        files=files,
        yanked=shown.version in shown.yanked,
        reasons=sorted({file.yanked for _, file in shown.files if isinstance(file.yanked, str)})[:5],
        installed=await ask.engine.sizing.installed(ask.index, shown, principal=ask.principal, seconds=_SIZING_SECONDS),
        number=number,
        last=max(1, -(-len(shown.files) // FILES)),
        versions=versions[(number - 1) * FILES : number * FILES] if version is None else (),
        last_of_versions=max(1, -(-len(versions) // FILES)) if version is None else 1,
        version_count=len(versions),
        before=version_before(shown),
        lines=[line.replace("PACKAGE", wanted) for line in installing_lines(f"{ask.url}/{ask.index}/+simple")[:2]],
        documentation=next((index for index, each in shown.attachments if each.kind == "doczip"), None),
        results=_results(shown)[:FILES],
        may_manage=bool(permits(ask.principal, Action.DELETE, index=config, project=ask.project)),
        may_explain=bool(permits(ask.principal, Action.EXPLAIN, index=config, project=ask.project)),
    )


async def _dependants(ask: Ask) -> FoundProjects | None:
    """The first projects here that require this one. None: that cannot be told now."""
    try:
        return await ask.engine.searching.dependants(ask.index, ask.project, principal=ask.principal, limit=_DEPENDANTS)
    except PkgIndexError:
        return None


def _file_row(ask: Ask, shown: ProjectView, entry: PageEntry, file: File) -> dict[str, Any]:
    config = shown.resolution.tree.indexes[entry.origin]
    here = f"{ask.root or './'}{ask.index}/{ask.project}"
    tags = file.filename.removesuffix(".whl").rsplit("-", 3)[-3:] if file.filename.endswith(".whl") else ()
    return {
        "filename": file.filename,
        "url": f"{ask.root or './'}{entry.origin}/{file_path(file)}",
        "size": file.shown_size,
        "at": minute_of(file.shown_time),
        "python": tags[0] if tags else "",
        "platform": tags[2] if tags else "",
        "requires_python": file.requires_python,
        "sha256": file.sha256 or "",
        "yanked": file.yanked,
        "contents": f"{here}/{quote(file.version)}/{quoted(file.filename)}" if file.version else "",
        "provenance": bool(file.provenance),
        "publisher": file.publisher,
        "origin": entry.origin,
        "upstream": (urlsplit(file.url).hostname or "") if config.mirrored and file.url else "",
        "mirrored": config.mirrored,
    }


def _results(shown: ProjectView) -> list[tuple[str, str]]:
    """The names and paths of the test results of the files that are shown."""
    files = {(entry.origin, file.filename): file for entry, file in shown.files}
    return [
        (each.filename, f"{index}/{attachment_path(each, files[index, each.about])}")
        for index, each in shown.attachments
        if each.kind == "toxresult" and (index, each.about) in files
    ]
