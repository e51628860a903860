"""The blobs that a replica fetches for a commit, and where its primary has them. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Literal

from msgspec import Struct

from pkgindex_core.changes import Commit, PutAttachment, PutFile
from pkgindex_core.digests import Sha256
from pkgindex_core.names import IndexName, ProjectName


class NamedBlob(Struct, frozen=True, kw_only=True):
    """A blob that a commit of a hosted index names, with its use. Mirrors name files that were never fetched."""

    sha256: Sha256
    kind: Literal["file", "sidecar", "attachment"]
    index: IndexName
    project: ProjectName
    filename: str


def blobs_named(commit: Commit) -> Iterator[NamedBlob]:
    """Every blob of hosted indexes that a commit's changes name."""
    for change in commit.changes:
        match change:
            case PutFile(index, project, file):
                here = partial(NamedBlob, index=index, project=project, filename=file.filename)
                if file.sha256:
                    yield here(sha256=file.sha256, kind="file")
                if file.metadata_sha256:
                    yield here(sha256=file.metadata_sha256, kind="sidecar")
            case PutAttachment(index, project, attachment):
                yield NamedBlob(
                    sha256=attachment.sha256,
                    kind="attachment",
                    index=index,
                    project=project,
                    filename=attachment.filename,
                )
            case _:
                pass
