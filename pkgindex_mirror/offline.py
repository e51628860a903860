"""The page filter of an offline server. It hides the files of mirrors that are not stored, so that installers choose among the others."""

from __future__ import annotations

import hashlib
from collections.abc import Collection
from typing import TYPE_CHECKING

from pkgindex_core.clock import Timestamp
from pkgindex_core.digests import Sha256
from pkgindex_core.models import File, Tree
from pkgindex_core.names import IndexName, ProjectName
from pkgindex_core.protocols import BlobStore, Build, PageFilter, Ruling


class StoredFiles:
    """A `PageFilter`. `stored`: the first half of the sha256 of each stored blob."""

    by_release = False

    def __init__(self, stored: Collection[bytes]) -> None:
        self._stored = frozenset(stored)
        self.fingerprint = hashlib.sha256(b"".join(sorted(self._stored))).hexdigest()[:16]

    def cut_off(self, tree: Tree, start: IndexName, moment: Timestamp) -> Timestamp:  # noqa: ARG002  # the role's signature
        return Timestamp(0)

    def applies(self, tree: Tree, start: IndexName) -> bool:  # noqa: ARG002  # the role's signature
        return any(index.mirrored for index in tree.indexes.values())

    def withheld(self, tree: Tree, start: IndexName, origin: IndexName, project: ProjectName) -> Ruling | None:  # noqa: ARG002  # the role's signature
        return None

    def judge(self, origin: IndexName, file: File, build: Build) -> Ruling | None:
        config = build.tree.indexes.get(origin)
        if config is None or not config.mirrored or not file.filename:
            return None
        if file.sha256 is not None and _short(file.sha256) in self._stored:
            return None
        return Ruling(reason="this server is offline, and the file is not stored")


async def stored_files(blob_store: BlobStore) -> StoredFiles:
    """Make the filter. It walks the blob store, which takes a second for 100,000 files on a local disk."""
    return StoredFiles([_short(blob.sha256) async for blob in blob_store.walk()])


def _short(sha256: Sha256) -> bytes:
    return bytes.fromhex(sha256[:32])


if TYPE_CHECKING:
    _: type[PageFilter] = StoredFiles
