"""Files and pages as a mirror keeps them: the values and their stored form. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from hashlib import blake2b
from typing import Final

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from pkgindex_core.clock import Timestamp
from pkgindex_core.compression import compress, decompress
from pkgindex_mirror.syncing.values import ProjectState, UpstreamProject

StateRow = tuple[str, bytes, int]
PageRow = tuple[str, bytes, bytes, bytes, bytes, int]

_projects: Final = msgspec.msgpack.Decoder(UpstreamProject)
_states: Final = msgspec.msgpack.Decoder(ProjectState)
_names: Final = msgspec.msgpack.Decoder(frozenset[str])
_digests: Final = msgspec.msgpack.Decoder(dict[str, bytes])
_encode: Final = msgspec.msgpack.Encoder().encode


class RecordedFile(Struct, frozen=True, gc=False):
    """A file as it was when it was kept."""

    size: int
    modified: Timestamp
    """Its modification time, as the storage told it then."""
    sha256: str


class PublishedPage(Struct, frozen=True, kw_only=True):
    """A project as it was published."""

    project: UpstreamProject
    left_out: frozenset[str]
    """The filenames of those of its files that are not in the tree."""
    stamp: int
    """The serial of its pages."""
    shown: Mapping[str, bytes] = {}
    """By path, the digests (`page_digest`) of its pages and documents as they were written. Empty for a tree that was taken over."""
    is_whole: bool = True
    """Whether the project has all files of the upstream, not only those that are in the tree."""


class PageWrite(Struct, frozen=True, kw_only=True):
    """Everything to be written about a project that was published."""

    page: PublishedPage
    state: ProjectState
    files: Mapping[str, RecordedFile]
    """The records of its files by path."""
    former_paths: Sequence[str]
    """Paths of files that it had and has no more."""
    doomed: Sequence[str]
    """Paths that are to be removed if no project has them."""
    page_paths: Sequence[str]
    """The paths of its pages, which are not to be removed any more."""
    changed: Sequence[str] = ()
    """Paths that this run has written, to be remembered for a list of changes."""


def page_digest(data: bytes) -> bytes:
    """The digest by which a page is recognised."""
    return blake2b(data, digest_size=16).digest()


def state_row(state: ProjectState) -> StateRow:
    return state.name, _encode(state), int(bool(state.error))


def read_state(state: bytes) -> ProjectState:
    return _states.decode(state)


def page_row(page: PublishedPage) -> PageRow:
    project = page.project
    document = compress(project.document, "zstd") if project.document else b""
    return (
        project.name,
        compress(_encode(replace(project, document=b"")), "zstd"),
        _encode(page.left_out),
        document,
        _encode(page.shown),
        int(page.is_whole),
    )


def read_page(page: bytes, left_out: bytes, document: bytes, shown: bytes, is_whole: int, stamp: int) -> PublishedPage:
    project = _projects.decode(decompress(page, "zstd"))
    if document:
        project = replace(project, document=decompress(document, "zstd"))
    return PublishedPage(
        project=project,
        left_out=_names.decode(left_out),
        stamp=stamp,
        shown=_digests.decode(shown),
        is_whole=bool(is_whole),
    )
