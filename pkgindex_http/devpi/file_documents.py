"""One file as devpi's client sees it: what is known of it, a test result for it, its end."""

from __future__ import annotations

from email.utils import formatdate
from typing import Any

from pkgindex_core.errors import Gone, Missing
from pkgindex_core.formats.project_documents import hash_spec
from pkgindex_core.formats.project_outlines import shown_digests
from pkgindex_core.rules.permissions import Action
from pkgindex_http.admitting import file_project
from pkgindex_http.bodies import chunks
from pkgindex_http.devpi.envelope import document, said
from pkgindex_http.replies import Reply
from pkgindex_http.requests import SIDECAR, Ask


async def describe(ask: Ask) -> Reply:
    """What is known of a file, without its bytes."""
    filename = ask.values["filename"].removesuffix(SIDECAR)
    found = await ask.engine.files.describe(ask.index, ask.pinned, filename, principal=ask.principal)
    file = found.file
    facts: dict[str, Any] = {
        "hash_spec": hash_spec(file.digests),
        "hashes": shown_digests(file.digests),
        "project": found.project,
        "version": file.version,
    }
    if file.upload_time is not None:
        facts["last_modified"] = formatdate(file.upload_time // 1_000_000, usegmt=True)
    return document(facts, "releasefilemeta")


async def may_add_result(ask: Ask) -> None:
    """For a token that is limited to projects the file decides."""
    await ask.engine.results.may_add(ask.index, principal=ask.principal)
    project = await file_project(ask, Action.UPLOAD_RESULTS)
    if project is not None:
        await ask.engine.results.may_add(ask.index, principal=ask.principal, project=project)


async def add_result(ask: Ask) -> Reply:
    """Keep a test result with the file that was tested."""
    path = _path(ask)
    found = await ask.engine.files.describe(ask.index, ask.pinned, ask.values["filename"], principal=ask.principal)
    if found.attachment is not None:
        raise Missing("file", path, message=f"no release file found at {path}")
    body = chunks(ask.request)
    place = await ask.engine.results.add(ask.index, found.project, found.file, body, principal=ask.principal)
    return document(f"{ask.index}/{place}", "toxresultpath")


async def may_delete(ask: Ask) -> None:
    """What is not volatile wants `?force`; for a token that is limited to projects the file decides."""
    force = ask.query("force") is not None
    await ask.engine.releases.may_delete(ask.index, principal=ask.principal, force=force)
    project = await file_project(ask, Action.DELETE)
    if project is not None:
        await ask.engine.releases.may_delete(ask.index, principal=ask.principal, force=force, project=project)


async def delete(ask: Ask) -> Reply:
    """Delete a file, documentation or a test result."""
    path, force = _path(ask), ask.query("force") is not None
    filename = ask.values["filename"]
    try:
        found = await ask.engine.files.lookup(ask.index, ask.pinned, filename, principal=ask.principal)
    except Gone as gone:
        raise Gone("file", path, gone.project, message=f"file {path!r} existed, deleted in later serial") from gone
    except Missing as missing:
        if missing.what != "file":
            raise
        raise Missing("file", path, message=f"package {path!r} doesn't exist") from missing
    await ask.engine.releases.delete_file(ask.index, found.project, filename, principal=ask.principal, force=force)
    return said(f"package {path!r} deleted")


def _path(ask: Ask) -> str:
    """The path as devpi names files: without slashes around it."""
    return f"{ask.index}/{ask.pinned}/{ask.values['filename']}"
