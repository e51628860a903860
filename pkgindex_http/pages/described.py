"""The metadata of files and versions, as the pages show it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from pkgindex_core.errors import PkgIndexError
from pkgindex_core.formats.core_metadata import read_metadata
from pkgindex_core.formats.fragments import directory
from pkgindex_core.formats.version_documents import encode_metadata, from_archive
from pkgindex_core.models import File
from pkgindex_core.names import IndexName, normalized_or_none
from pkgindex_core.services.reading.opened_files import StoredContent
from pkgindex_core.services.reading.showing import ProjectView
from pkgindex_http.requests import Ask

NOTHING: Final[Mapping[str, Any]] = msgspec.json.decode(encode_metadata({}))
"""Metadata of which nothing is known: all keys, without values."""
_METADATA_BYTES: Final = 1024 * 1024
_PATIENCE: Final = 5.0
"""Seconds that a page waits for the metadata of a mirrored wheel."""


def decoded(data: bytes) -> Mapping[str, Any]:
    """The fields of METADATA or PKG-INFO under the keys of `formats.version_documents`."""
    fields: Mapping[str, Any] = msgspec.json.decode(from_archive(read_metadata(data)))
    return fields


def has_sidecar(file: File) -> bool:
    return file.filename.endswith(".whl") and bool(file.metadata_sha256 or file.metadata_offered)


async def of_sidecar(ask: Ask, index: IndexName, file: File) -> Mapping[str, Any] | str:
    """The metadata beside a wheel, or why it cannot be read now."""
    try:
        async with asyncio.timeout(_PATIENCE):
            return decoded(await _sidecar(ask, index, file))
    except PkgIndexError as error:
        return error.message
    except TimeoutError:
        return "it did not come in time; load the page again"


async def metadata_of(ask: Ask, shown: ProjectView) -> tuple[Mapping[str, Any], str, str]:
    """The metadata, the party that vouches for it, and why there is none."""
    if shown.metadata_of is not None:
        return {**NOTHING, **shown.metadata}, f"the metadata that was uploaded to {shown.metadata_of}", ""
    entry, file = next(((entry, file) for entry, file in shown.files if has_sidecar(file)), (None, None))
    if entry is None or file is None:
        return NOTHING, "", "no wheel of this version has metadata that can be read without the whole file"
    metadata = await of_sidecar(ask, entry.origin, file)
    if isinstance(metadata, str):
        return NOTHING, "", f"the metadata of {file.filename} cannot be read now: {metadata}"
    return metadata, f"the metadata of {file.filename}", ""


async def _sidecar(ask: Ask, index: IndexName, file: File) -> bytes:
    opened = await ask.engine.files.open(index, directory(file), file.filename, sidecar=True, principal=ask.principal)
    if not isinstance(opened, StoredContent) or opened.blob.size > _METADATA_BYTES:
        raise PkgIndexError("it is too long")
    return b"".join([piece async for piece in ask.engine.files.read(opened.blob.sha256)])


def links_of(metadata: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Label and URL of the links of a project. Other schemes than http and https are left out."""
    links = [("Home page", metadata.get("home_page") or ""), ("Download", metadata.get("download_url") or "")]
    for each in metadata.get("project_urls") or ():
        label, _, url = each.partition(",")
        links.append((label.strip()[:60], url.strip()))
    return [(label or url, url) for label, url in links if url.startswith(("https://", "http://"))]


def dependency(text: str) -> tuple[str, str]:
    """The normalised name of a requirement (empty if it has none), and the whole requirement."""
    end = next((place for place, letter in enumerate(text) if not (letter.isalnum() or letter in "-_.")), len(text))
    return normalized_or_none(text[:end]) or "", text
