"""The blobs that changes give rows to. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from pkgindex_core.changes import Change, MirrorPage, PutAttachment, PutFile
from pkgindex_core.digests import Sha256
from pkgindex_core.formats.kept_pages import rows_of
from pkgindex_core.models import File


def uploaded(changes: Iterable[Change]) -> Iterable[Sha256]:
    """The blobs that uploads name."""
    for change in changes:
        match change:
            case PutFile(file=file):
                yield from _of(file)
            case PutAttachment(attachment=attachment):
                yield attachment.sha256
            case _:
                pass


def named(changes: Iterable[Change]) -> Iterable[Sha256]:
    """The blobs that uploads and mirrored pages name."""
    for change in changes:
        if isinstance(change, MirrorPage):
            if change.kept:
                yield from rows_of(change.kept).blobs()
            for file in change.put:
                yield from _of(file)
        else:
            yield from uploaded((change,))


def _of(file: File) -> Iterable[Sha256]:
    return (digest for digest in (file.sha256, file.metadata_sha256) if digest)
