"""What this distribution offers. The entry point names this module; the imports of the real work stay inside."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from pkgindex_core.hookspecs import CommandProvider, Context, Provider, hookimpl
from pkgindex_core.protocols import BlobStore, IndexOption, IndexType, PageFilter, Source, UploadCheck


@hookimpl
def pkgindex_blob_stores() -> Iterable[Provider[BlobStore]]:
    return [Provider(name="outsider", summary="one flat directory", make=_open_blobs)]


@hookimpl
def pkgindex_upload_checks() -> Iterable[Provider[UploadCheck]]:
    return [Provider(name="no-dev-versions", summary="refuses development versions", make=_make_check)]


@hookimpl
def pkgindex_page_filters() -> Iterable[Provider[PageFilter]]:
    return [Provider(name="no-nightlies", summary="hides nightly builds", make=_make_filter)]


@hookimpl
def pkgindex_index_types() -> Iterable[Provider[IndexType]]:
    return [Provider(name="catalogue", summary="the projects that a JSON file lists", make=_make_type)]


@hookimpl
def pkgindex_index_options() -> Iterable[Provider[IndexOption]]:
    return [Provider(name="catalogue_file", summary="the name of the JSON file", make=_make_option)]


@hookimpl
def pkgindex_sources() -> Iterable[Provider[Source]]:
    return [Provider(name="catalogue", summary="files that lie in a directory", make=_make_source)]


@hookimpl
def pkgindex_routes() -> Iterable[Provider[Any]]:
    return [Provider(name="census", summary="how many projects an index holds", make=_make_routes)]


@hookimpl
def pkgindex_commands() -> Iterable[CommandProvider]:
    summary = "Count the projects that each index holds itself."
    return [CommandProvider(name="pkgindex-serve census", section="Counting", summary=summary, make=_load_census)]


@hookimpl
def pkgindex_templates() -> Iterable[Provider[Path]]:
    return [Provider(name="outsider", summary="the census, and a frame for all pages", make=_find_templates)]


def _make_routes(_context: Context) -> Any:
    from pkgindex_outsider.census import ROUTES

    return ROUTES


def _load_census() -> Any:
    from pkgindex_outsider.commands import census

    return census


def _find_templates(_context: Context) -> Path:
    return Path(__file__).with_name("templates")


async def _open_blobs(url: str, context: Context) -> BlobStore:
    from pkgindex_outsider.blobs import open_flat

    return await open_flat(url, context)


def _make_check(_context: Context) -> UploadCheck:
    from pkgindex_outsider.rules import NoDevelopmentVersions

    return NoDevelopmentVersions()


def _make_filter(context: Context) -> PageFilter:
    from pkgindex_outsider.rules import NoNightlies

    return NoNightlies(word=context.settings.get("word", "nightly"))


def _make_type(_context: Context) -> IndexType:
    return IndexType(mirrored=True)


def _make_option(_context: Context) -> IndexOption:
    from pkgindex_outsider.catalogue import catalogue_file

    return IndexOption(parse=catalogue_file, types=("catalogue",), required=True)


async def _make_source(context: Context) -> Source:
    from pkgindex_outsider.catalogue import make_source

    return make_source(context)
