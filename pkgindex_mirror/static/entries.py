"""The entries of a catalogue: for each project its line on the pages about all projects, and a digest of each of its objects.

Pure. Entries lie in shards, by a hash of the project's name: a run reads and writes the shards of the projects that it looks at. A shard's
content depends on its projects alone, so equal trees have equal shards.
"""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import blake2b
from typing import Final

import msgspec
from msgspec import Struct

from pkgindex_core.digests import Sha256
from pkgindex_core.formats.static_tree import ProjectObjects, StaticProject
from pkgindex_core.models import Serial
from pkgindex_core.names import ProjectName
from pkgindex_mirror.static.state import digest

SHARDS: Final = ".pkgindex/projects"


class ListedChange(Struct, frozen=True, array_like=True, order=True, gc=False):
    """A file in the changelog. The order is that of the changelog."""

    uploaded: int
    """Microseconds since the epoch; 0 if it is unknown."""
    filename: str
    project: str
    version: str
    uploader: str


class ProjectLine(Struct, frozen=True, array_like=True, gc=False):
    """A project on the pages about all projects."""

    name: ProjectName
    display_name: str
    stamp: Serial
    version: str
    summary: str
    size: int
    """The size of its lines in `packages.json`, in bytes."""


class CatalogueEntry(Struct, frozen=True, array_like=True):
    """All that a tree keeps about a project."""

    line: ProjectLine
    packages: bytes
    """Its lines in `packages.json`."""
    changes: tuple[ListedChange, ...]
    objects: msgspec.Raw
    """The digest of each object, by path."""
    placed: msgspec.Raw
    """The sha256 of each file, by path."""

    def digests(self) -> dict[str, bytes]:
        return msgspec.msgpack.decode(self.objects, type=dict[str, bytes])

    def files(self) -> dict[str, Sha256]:
        return msgspec.msgpack.decode(self.placed, type=dict[str, Sha256])


_encode = msgspec.msgpack.Encoder().encode
_decoder = msgspec.msgpack.Decoder(list[CatalogueEntry])


def shard_of(name: ProjectName) -> str:
    """The path of the shard that has a project: one of 256."""
    return f"{SHARDS}/{blake2b(name.encode(), digest_size=1).hexdigest()}"


def read_shard(data: bytes) -> dict[ProjectName, CatalogueEntry]:
    """The entries of a shard by name. Raises `msgspec.DecodeError` for what is no shard."""
    return {each.line.name: each for each in _decoder.decode(data)}


def write_shard(entries: Iterable[CatalogueEntry]) -> bytes:
    return _encode(sorted(entries, key=lambda each: each.line.name))


def entry_of(project: StaticProject, objects: ProjectObjects) -> CatalogueEntry:
    """Make the entry of a project."""
    name, head = project.page.project, project.page.head
    packages = b"".join([file.line + b"\n" for file in project.files])
    return CatalogueEntry(
        line=ProjectLine(name, head.display_name, project.page.serial, objects.version, objects.summary, len(packages)),
        packages=packages,
        changes=tuple(
            ListedChange(file.uploaded or 0, file.filename, name, file.version, file.uploader) for file in project.files
        ),
        objects=msgspec.Raw(_encode({path: digest(data) for path, data in objects.written.items()})),
        placed=msgspec.Raw(_encode(dict(project.placed))),
    )
