"""Outlines: a project's versions and links without metadata, packed. Documents that are too large for memory are written from them.

    layers -> versions -> version, link, link, version, link …  -> chunks, compressed

An outline has an `OutlineVersion` for each version in each layer, the first layer first, each followed by its `OutlineLink`s. The
writer of a document reads the metadata of a version when it comes to it. An outline of 10,000 versions takes about a megabyte;
their descriptions may take hundreds.
"""

# Annotations are values here and no text (`from __future__ import annotations`), which msgspec would compile at every start.

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from operator import attrgetter
from typing import Final

import msgspec
from msgspec import Struct

from pkgindex_core.compression import compress, decompress
from pkgindex_core.formats.attestations import KIND as PROVENANCE
from pkgindex_core.formats.fragments import directory, file_path, quoted
from pkgindex_core.formats.versions import canonical_version, version_key
from pkgindex_core.models import Attachment, Event, File, Page, decode_file
from pkgindex_core.names import IndexName

_CHUNK_RECORDS: Final = 100
_CODING: Final = "zstd"
_RELEASE_FILE: Final = "releasefile"

Shown = Callable[[IndexName, File], bool]
"""Whether a file is shown. Hidden files have no links. A file without a name stands for its version."""


class OutlineLayer(Struct, frozen=True, kw_only=True):
    """The part of a project in one index."""

    page: Page
    mirrored: bool
    released: Sequence[str] = ()
    """The versions with stored metadata."""
    attachments: Sequence[Attachment] = ()

    @property
    def index(self) -> IndexName:
        return self.page.index


class OutlineVersion(Struct, frozen=True, array_like=True, tag=1, gc=False):
    """One version in one layer."""

    index: IndexName
    mirrored: bool
    spelled: str
    """The spelling of the first of: a version without files, a file, an attachment. Metadata has a spelling of its own."""
    shadow: int
    """The number of earlier layers with this version; 0: this layer describes it."""
    released: bool
    """Whether it has stored metadata."""
    requires_python: str
    yanked: bool | str


class OutlineLink(Struct, frozen=True, array_like=True, tag=2, gc=False):
    """A file, documentation or a test result of the version before it. Paths are below the index."""

    rel: str
    path: str
    digests: Mapping[str, str]
    for_path: str
    history: tuple[Event, ...]

    @property
    def is_file(self) -> bool:
        return self.rel == _RELEASE_FILE


_encode = msgspec.msgpack.Encoder().encode


class Outline(Struct, frozen=True, weakref=True):
    """Every version, oldest first."""

    chunks: tuple[bytes, ...]

    @property
    def size(self) -> int:
        """Its size in memory, in bytes."""
        return sum(map(len, self.chunks))

    def records(self) -> Iterator[OutlineVersion | OutlineLink]:
        """Yield the records. One chunk at a time is unpacked."""
        for chunk in self.chunks:
            yield from _decoder().decode(decompress(chunk, _CODING))


@cache
def _decoder() -> msgspec.msgpack.Decoder[list[OutlineVersion | OutlineLink]]:
    return msgspec.msgpack.Decoder(list[OutlineVersion | OutlineLink])


class _Version(Struct, kw_only=True):
    """One version in one layer, while it is collected."""

    spelled: str
    released: bool = False
    files: list[File]
    attachments: list[Attachment]
    hides: bool = False
    """Whether a filter hides files of it."""


def outline(layers: Sequence[OutlineLayer], shown: Shown, only: str | None = None) -> Outline:
    """Make an outline of all versions in some layers, or of `only` one, in any spelling. Layers are in resolution order."""
    wanted = canonical_version(only) if only is not None else None
    return Outline(tuple(_packed(_records(layers, [_versions(layer, shown, wanted) for layer in layers]))))


def attachment_path(attachment: Attachment, tested: File | None) -> str:
    """The path of an attachment below its index. A test result has the directory of the tested file."""
    place = directory(tested) if tested is not None else f"+f/{attachment.sha256[:3]}/{attachment.sha256[3:16]}"
    return f"{place}/{quoted(attachment.filename)}"


def shown_digests(digests: Mapping[str, str]) -> dict[str, str]:
    """The sha256 if it is known, otherwise all digests."""
    return {"sha256": digests["sha256"]} if "sha256" in digests else dict(digests)


def hash_spec(digests: Mapping[str, str]) -> str:
    """The best digest, in devpi's form."""
    for algorithm in ("sha256", *sorted(digests, reverse=True)):
        if algorithm in digests:
            return f"{algorithm}={digests[algorithm]}"
    return ""


def _packed(records: Iterator[OutlineVersion | OutlineLink]) -> Iterator[bytes]:
    chunk: list[OutlineVersion | OutlineLink] = []
    for record in records:
        chunk.append(record)
        if len(chunk) == _CHUNK_RECORDS:
            yield compress(_encode(chunk), _CODING)
            chunk = []
    if chunk:
        yield compress(_encode(chunk), _CODING)


def _records(
    layers: Sequence[OutlineLayer], found: Sequence[dict[str, _Version]]
) -> Iterator[OutlineVersion | OutlineLink]:
    for canonical in sorted({version for versions in found for version in versions}, key=version_key):
        shadow = 0
        for layer, versions in zip(layers, found, strict=True):
            version = versions.get(canonical)
            if version is not None:
                yield _part(layer, version, shadow)
                yield from _links(version)
                shadow += 1


def _part(layer: OutlineLayer, version: _Version, shadow: int) -> OutlineVersion:
    return OutlineVersion(
        index=layer.index,
        mirrored=layer.mirrored,
        spelled=version.spelled,
        shadow=shadow,
        released=version.released,
        requires_python=next((file.requires_python for file in version.files if file.requires_python), ""),
        yanked=next((file.yanked for file in version.files if file.yanked), False),
    )


def _links(version: _Version) -> Iterator[OutlineLink]:
    files = {file.filename: file for file in version.files}
    for file in files.values():
        yield OutlineLink(_RELEASE_FILE, file_path(file), shown_digests(file.digests), "", file.history)
    for attachment in version.attachments:
        tested = files.get(attachment.about)
        yield OutlineLink(
            attachment.kind,
            attachment_path(attachment, tested),
            {"sha256": attachment.sha256},
            file_path(tested) if tested is not None else "",
            attachment.history,
        )


def _versions(layer: OutlineLayer, shown: Shown, only: str | None) -> dict[str, _Version]:
    """The versions in a layer, by canonical spelling. Versions of which all files are hidden are left out."""
    found: dict[str, _Version] = {}
    judged: dict[str, bool] = {}

    def allowed(canonical: str, spelled: str) -> bool:
        if canonical not in judged:
            judged[canonical] = shown(layer.index, File(filename="", version=spelled))
        return judged[canonical]

    def version(spelled: str) -> _Version | None:
        canonical = canonical_version(spelled)
        if not spelled or only not in {None, canonical} or not allowed(canonical, spelled):
            return None
        return found.setdefault(canonical, _Version(spelled=spelled, files=[], attachments=[]))

    for bare in layer.page.head.versions:
        version(bare)
    versions_of_files = {}
    for row in sorted(layer.page.rows, key=attrgetter("filename")):
        if (entry := version(row.version)) is None:
            continue
        file = decode_file(row.body)
        if shown(layer.index, file):
            entry.files.append(file)
            versions_of_files[file.filename] = row.version
        else:
            entry.hides = True
    for released in layer.released:
        if (entry := version(released)) is not None:
            entry.released = True
    for attachment in layer.attachments:
        if attachment.kind == PROVENANCE or (attachment.about and attachment.about not in versions_of_files):
            continue
        if (entry := version(versions_of_files.get(attachment.about, attachment.version))) is not None:
            entry.attachments.append(attachment)
    return {canonical: entry for canonical, entry in found.items() if entry.files or not entry.hides}
