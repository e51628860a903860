"""What this distribution offers. The entry point names this module; the imports of the real work stay inside."""

from __future__ import annotations

from collections.abc import Iterable

from pkgindex_core.hookspecs import Context, Provider, hookimpl
from pkgindex_core.protocols import BlobStore, PageFilter, UploadCheck


@hookimpl
def pkgindex_blob_stores() -> Iterable[Provider[BlobStore]]:
    return [Provider(name="outsider", summary="one flat directory", make=_open_blobs)]


@hookimpl
def pkgindex_upload_checks() -> Iterable[Provider[UploadCheck]]:
    return [Provider(name="no-dev-versions", summary="refuses development versions", make=_make_check)]


@hookimpl
def pkgindex_page_filters() -> Iterable[Provider[PageFilter]]:
    return [Provider(name="no-nightlies", summary="hides nightly builds", make=_make_filter)]


async def _open_blobs(url: str, context: Context) -> BlobStore:
    from pkgindex_outsider.blobs import open_flat

    return await open_flat(url, context)


def _make_check(_context: Context) -> UploadCheck:
    from pkgindex_outsider.rules import NoDevelopmentVersions

    return NoDevelopmentVersions()


def _make_filter(context: Context) -> PageFilter:
    from pkgindex_outsider.rules import NoNightlies

    return NoNightlies(word=context.settings.get("word", "nightly"))
