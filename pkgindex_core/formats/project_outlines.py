"""What is known of a project's versions without their metadata, packed: a plan for a document that is too large to be held.

    layers -> versions -> Part, Link, Link, Part, Link …  -> chunks, compressed

A version of a project is told by a `Part` for each layer that has it, the first layer's first, and each part is followed by its
links. Whoever writes the document takes one record after the other and reads the metadata of a part when its turn has come. An
outline of 10,000 versions takes about a megabyte; their descriptions may take hundreds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from operator import attrgetter
from typing import Final

import msgspec
from msgspec import Struct

from pkgindex_core.compression import compress, decompress
from pkgindex_core.formats.fragments import directory, file_path, quoted
from pkgindex_core.formats.versions import canonical_version, version_key
from pkgindex_core.models import Attachment, Event, File, Page, decode_file
from pkgindex_core.names import IndexName

_CHUNK_RECORDS: Final = 100
_CODING: Final = "zstd"
_RELEASE_FILE: Final = "releasefile"

Shown = Callable[[IndexName, File], bool]
"""Whether a file is shown at all; what a page filter hides is linked nowhere. A file without a name stands for its version."""


class Layer(Struct, frozen=True, kw_only=True):
    """What one index has of a project."""

    page: Page
    mirrored: bool
    released: Sequence[str] = ()
    """The versions of which metadata is stored."""
    attachments: Sequence[Attachment] = ()

    @property
    def index(self) -> IndexName:
        return self.page.index


class Part(Struct, frozen=True, array_like=True, tag=1, gc=False):
    """One version in one layer."""

    index: IndexName
    mirrored: bool
    spelled: str
    """As the first thing that names it spells it: a version without files, then files, then attachments. Metadata has its own word."""
    shadow: int
    """How many layers before this one have the version too; 0 is who tells it."""
    released: bool
    """Whether there is metadata of it."""
    requires_python: str
    yanked: bool | str


class Link(Struct, frozen=True, array_like=True, tag=2, gc=False):
    """Something that hangs at the part before it: a file, documentation, a test result. Paths are below the index."""

    rel: str
    path: str
    digests: Mapping[str, str]
    for_path: str
    history: tuple[Event, ...]

    @property
    def is_file(self) -> bool:
        return self.rel == _RELEASE_FILE


_encode = msgspec.msgpack.Encoder().encode
_decoder = msgspec.msgpack.Decoder(list[Part | Link])


class Outline(Struct, frozen=True, weakref=True):
    """Every version, oldest first."""

    chunks: tuple[bytes, ...]

    @property
    def size(self) -> int:
        """Bytes that it takes in memory."""
        return sum(map(len, self.chunks))

    def records(self) -> Iterator[Part | Link]:
        """One after the other; one chunk at a time is unpacked."""
        for chunk in self.chunks:
            yield from _decoder.decode(decompress(chunk, _CODING))


class _Version(Struct, kw_only=True):
    """One version in one layer, while it is put together."""

    spelled: str
    released: bool = False
    files: list[File]
    attachments: list[Attachment]
    hides: bool = False
    """Whether a filter hides files of it."""


def outline(layers: Sequence[Layer], shown: Shown, only: str | None = None) -> Outline:
    """Every version of some layers, or `only` one, by any of its spellings. Layers stand in resolution order."""
    wanted = canonical_version(only) if only is not None else None
    return Outline(tuple(_packed(_records(layers, [_versions(layer, shown, wanted) for layer in layers]))))


def attachment_path(attachment: Attachment, tested: File | None) -> str:
    """The path of an attachment below its index. A test result lies beside the file that was tested."""
    place = directory(tested) if tested is not None else f"+f/{attachment.sha256[:3]}/{attachment.sha256[3:16]}"
    return f"{place}/{quoted(attachment.filename)}"


def shown_digests(digests: Mapping[str, str]) -> dict[str, str]:
    """The best digest where it is known, all that there are otherwise."""
    return {"sha256": digests["sha256"]} if "sha256" in digests else dict(digests)


def _packed(records: Iterator[Part | Link]) -> Iterator[bytes]:
    chunk: list[Part | Link] = []
    for record in records:
        chunk.append(record)
        if len(chunk) == _CHUNK_RECORDS:
            yield compress(_encode(chunk), _CODING)
            chunk = []
    if chunk:
        yield compress(_encode(chunk), _CODING)


def _records(layers: Sequence[Layer], found: Sequence[dict[str, _Version]]) -> Iterator[Part | Link]:
    for canonical in sorted({version for versions in found for version in versions}, key=version_key):
        shadow = 0
        for layer, versions in zip(layers, found, strict=True):
            version = versions.get(canonical)
            if version is not None:
                yield _part(layer, version, shadow)
                yield from _links(version)
                shadow += 1


def _part(layer: Layer, version: _Version, shadow: int) -> Part:
    return Part(
        index=layer.index,
        mirrored=layer.mirrored,
        spelled=version.spelled,
        shadow=shadow,
        released=version.released,
        requires_python=next((file.requires_python for file in version.files if file.requires_python), ""),
        yanked=next((file.yanked for file in version.files if file.yanked), False),
    )


def _links(version: _Version) -> Iterator[Link]:
    files = {file.filename: file for file in version.files}
    for file in files.values():
        yield Link(_RELEASE_FILE, file_path(file), shown_digests(file.digests), "", file.history)
    for attachment in version.attachments:
        tested = files.get(attachment.about)
        yield Link(
            attachment.kind,
            attachment_path(attachment, tested),
            {"sha256": attachment.sha256},
            file_path(tested) if tested is not None else "",
            attachment.history,
        )


def _versions(layer: Layer, shown: Shown, only: str | None) -> dict[str, _Version]:
    """What a layer has, by the one spelling of each version. One all of whose files are hidden is not told of."""
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
        if attachment.about and attachment.about not in versions_of_files:
            continue
        if (entry := version(versions_of_files.get(attachment.about, attachment.version))) is not None:
            entry.attachments.append(attachment)
    return {canonical: entry for canonical, entry in found.items() if entry.files or not entry.hides}
