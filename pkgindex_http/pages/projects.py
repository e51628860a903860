"""A project, or one of its versions, for people: `/{user}/{index}/{project}[/{version}]` in a browser.

Each fact is labelled by the party that vouches for it: this index, an upstream, or the file's own metadata.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import urlsplit

import msgspec

from pkgindex_core.clock import to_rfc3339
from pkgindex_core.errors import PkgIndexError
from pkgindex_core.formats.core_metadata import read_metadata
from pkgindex_core.formats.fragments import directory, file_path
from pkgindex_core.formats.project_outlines import attachment_path
from pkgindex_core.formats.version_documents import encode_metadata, from_archive
from pkgindex_core.models import File
from pkgindex_core.names import IndexName, normalized_or_none
from pkgindex_core.protocols import PageEntry
from pkgindex_core.rules.permissions import Action, permits
from pkgindex_core.services.reading.opened_files import StoredContent
from pkgindex_core.services.reading.searching import FoundProjects
from pkgindex_core.services.reading.showing import ProjectView
from pkgindex_http.devpi.projects import to_normalized
from pkgindex_http.pages.layout import reading_page
from pkgindex_http.pasting import installing_lines
from pkgindex_http.requests import Ask
from pkgindex_http.wire.replies import Reply

FILES: Final = 100
"""The files, and the versions, of one page."""
_DEPENDANTS: Final = 10
_METADATA_BYTES: Final = 1024 * 1024
_PATIENCE: Final = 5.0
"""Seconds that a page waits for the metadata of a mirrored wheel."""


async def project(ask: Ask) -> Reply:
    """The page."""
    if ask.values["project"] != ask.project:
        return to_normalized(ask)
    version = ask.values.get("version")
    shown = await ask.engine.showing.project(ask.index, ask.project, version, principal=ask.principal)
    metadata, voucher, missing = await _metadata(ask, shown)
    number = _number(ask.query("page"))
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
        links=_links(metadata),
        dependencies=[_dependency(each) for each in metadata.get("requires_dist") or ()],
        dependants=await _dependants(ask),
        files=files,
        yanked=bool(shown.files) and all(file.yanked for _, file in shown.files),
        number=number,
        last=max(1, -(-len(shown.files) // FILES)),
        versions=versions[(number - 1) * FILES : number * FILES] if version is None else (),
        last_of_versions=max(1, -(-len(versions) // FILES)) if version is None else 1,
        version_count=len(versions),
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


def _number(text: str | None) -> int:
    return max(1, int(text)) if text and text.isascii() and text.isdigit() and len(text) <= 6 else 1


async def _metadata(ask: Ask, shown: ProjectView) -> tuple[Mapping[str, Any], str, str]:
    """The metadata, the party that vouches for it, and why there is none."""
    nothing = msgspec.json.decode(encode_metadata({}))
    if shown.metadata_of is not None:
        return {**nothing, **shown.metadata}, f"the metadata that was uploaded to {shown.metadata_of}", ""
    entry, file = next(
        ((entry, file) for entry, file in shown.files if file.filename.endswith(".whl") and _has_sidecar(file)),
        (None, None),
    )
    if entry is None or file is None:
        return nothing, "", "no wheel of this version has metadata that can be read without the whole file"
    try:
        async with asyncio.timeout(_PATIENCE):
            data = await _sidecar(ask, entry.origin, file)
        metadata = read_metadata(data)
    except (PkgIndexError, TimeoutError) as error:
        reason = error.message if isinstance(error, PkgIndexError) else "it did not come in time; load the page again"
        return nothing, "", f"the metadata of {file.filename} cannot be read now: {reason}"
    return msgspec.json.decode(from_archive(metadata)), f"the metadata of {file.filename}", ""


def _has_sidecar(file: File) -> bool:
    return bool(file.metadata_sha256) or file.metadata_offered


async def _sidecar(ask: Ask, index: IndexName, file: File) -> bytes:
    opened = await ask.engine.files.open(index, directory(file), file.filename, sidecar=True, principal=ask.principal)
    if not isinstance(opened, StoredContent) or opened.blob.size > _METADATA_BYTES:
        raise PkgIndexError("it is too long")
    return b"".join([piece async for piece in ask.engine.files.read(opened.blob.sha256)])


def _file_row(ask: Ask, shown: ProjectView, entry: PageEntry, file: File) -> dict[str, Any]:
    config = shown.resolution.tree.indexes[entry.origin]
    tags = file.filename.removesuffix(".whl").rsplit("-", 3)[-3:] if file.filename.endswith(".whl") else ()
    return {
        "filename": file.filename,
        "url": f"{ask.root or './'}{entry.origin}/{file_path(file)}",
        "size": file.shown_size,
        "at": to_rfc3339(file.shown_time)[:16].replace("T", " ") if file.shown_time is not None else "",
        "python": tags[0] if tags else "",
        "platform": tags[2] if tags else "",
        "requires_python": file.requires_python,
        "sha256": file.sha256 or "",
        "yanked": file.yanked,
        "provenance": file.provenance if _is_web(file.provenance) else "",
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


def _links(metadata: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Label and URL of the links of a project. Other schemes than http and https are left out."""
    links = [("Home page", metadata.get("home_page") or ""), ("Download", metadata.get("download_url") or "")]
    for each in metadata.get("project_urls") or ():
        label, _, url = each.partition(",")
        links.append((label.strip()[:60], url.strip()))
    return [(label or url, url) for label, url in links if _is_web(url)]


def _is_web(url: str) -> bool:
    return url.startswith(("https://", "http://"))


def _dependency(text: str) -> tuple[str, str]:
    """The normalised name of a requirement (empty if it has none), and the whole requirement."""
    end = next((place for place, letter in enumerate(text) if not (letter.isalnum() or letter in "-_.")), len(text))
    return normalized_or_none(text[:end]) or "", text
