"""Requests of devpi's client about one file: its metadata, a test result for it, its deletion."""

from __future__ import annotations

from email.utils import formatdate
from typing import Any

from pkgindex_core.errors import Gone, Missing
from pkgindex_core.formats.project_outlines import hash_spec, shown_digests
from pkgindex_core.rules.permissions import Action
from pkgindex_http.admitting import file_project
from pkgindex_http.devpi.envelope import document, said
from pkgindex_http.requests import SIDECAR, Ask
from pkgindex_http.wire.bodies import chunks
from pkgindex_http.wire.replies import Reply


async def describe(ask: Ask) -> Reply:
    """The digests, project, version and date of a file."""
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
    """Check the right to add a test result, also for the file's project if the token is limited to projects."""
    await ask.engine.results.may_add(ask.index, principal=ask.principal)
    project = await file_project(ask, Action.UPLOAD_RESULTS)
    if project is not None:
        await ask.engine.results.may_add(ask.index, principal=ask.principal, project=project)


async def add_result(ask: Ask) -> Reply:
    """Store a test result beside the tested file."""
    path = _path(ask)
    found = await ask.engine.files.describe(ask.index, ask.pinned, ask.values["filename"], principal=ask.principal)
    if found.attachment is not None:
        raise Missing("file", path, message=f"no release file found at {path}")
    body = chunks(ask.request)
    place = await ask.engine.results.add(ask.index, found.project, found.file, body, principal=ask.principal)
    return document(f"{ask.index}/{place}", "toxresultpath")


async def may_delete(ask: Ask) -> None:
    """Check the right to delete, also for the file's project if the token is limited to projects. A non-volatile index needs `?force`."""
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
        await ask.engine.releases.delete_file(
            ask.index, found.project, filename, principal=ask.principal, force=force, sha256=found.file.sha256
        )
    except Gone as gone:
        raise Gone("file", path, gone.project, message=f"file {path!r} existed, deleted in later serial") from gone
    except Missing as missing:
        if missing.what != "file":
            raise
        raise Missing("file", path, message=f"package {path!r} doesn't exist") from missing
    return said(f"package {path!r} deleted")


def _path(ask: Ask) -> str:
    """The path of the file without the first slash, as in devpi's messages."""
    return f"{ask.index}/{ask.pinned}/{ask.values['filename']}"
