"""A mirrored page in one piece: all its files, packed as they are served, so that serving it touches no single file.

    kept = msgpack [format, count, strays, packed]
    packed = zstd of msgpack [versions, listed, hidden]

    listed   the files' JSON objects as one array, by version and then filename, as a page of a single index shows them:
             [{"url":"+f/b9b/94088c1a2fe8f/demo-1.0.tar.gz","filename":"demo-1.0.tar.gz",…},…]
    hidden   in the same order, what no page shows of a file: [version, upstream's URL] and, when these three do not say
             everything of it, the whole `File`

Links are relative to the root of the index (`fragments`), so a page of one index is this array with a prefix put before each link. No
text can be taken for the beginning of an object or for a key: inside JSON strings quotes are escaped.

A stray is a file whose name does not lead to its project (`filenames.leads_to`); stores look those up elsewhere. Pure.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from functools import cached_property, lru_cache
from typing import Final, NamedTuple

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from pkgindex_core.clock import from_rfc3339
from pkgindex_core.compression import ZstdError, compress, decompress
from pkgindex_core.digests import Sha256
from pkgindex_core.errors import Corrupt
from pkgindex_core.formats.filenames import leads_to
from pkgindex_core.formats.fragments import fragment
from pkgindex_core.formats.versions import listed_versions, version_ranks
from pkgindex_core.models import File, PageHead, PageRow, decode_file, encode_file
from pkgindex_core.names import IndexName, ProjectName
from pkgindex_core.protocols.policies import PageEntry

MOST_FILES: Final = 10_000
"""Of a page with more, a change of one file would cost too much."""
MOST_BYTES: Final = 4 << 20
"""The same of a page whose files have more JSON."""
_FORMAT: Final = 1
_OPENING: Final = b'{"url":"'


class _Sidecar(Struct, frozen=True, gc=False):
    sha256: Sha256


class _Listed(Struct, frozen=True, rename="kebab", gc=False):
    """A file's JSON object as it is listed; what is left out is unknown (`fragments.fragment`)."""

    filename: str
    hashes: dict[str, str]
    requires_python: str = ""
    size: int | None = None
    upload_time: str | None = None
    yanked: bool | str = False
    core_metadata: _Sidecar | bool = False
    gpg_sig: bool | None = None
    provenance: str = ""


class Hidden(Struct, frozen=True, array_like=True, gc=False):
    """What no page shows of a file."""

    version: str
    url: str
    """Where its upstream has it."""
    whole: bytes | None = None
    """The file as `encode_file` writes it, where it is more than what is listed and the two fields above."""


class _Kept(Struct, frozen=True, array_like=True):
    format: int
    count: int
    strays: tuple[str, ...]
    packed: bytes


class _Content(Struct, frozen=True, array_like=True):
    versions: tuple[str, ...]
    """The versions that the files have, as a page without others lists them."""
    listed: bytes
    hidden: msgspec.Raw


class _Name(Struct, frozen=True, gc=False):
    filename: str


class _Blobs(Struct, frozen=True, rename="kebab", gc=False):
    hashes: Mapping[str, Sha256]
    core_metadata: _Sidecar | bool = False


_encode_json = msgspec.json.Encoder().encode
_encode = msgspec.msgpack.Encoder().encode
_kept_decoder = msgspec.msgpack.Decoder(_Kept)
_content_decoder = msgspec.msgpack.Decoder(_Content)
_hidden_decoder = msgspec.msgpack.Decoder(list[Hidden])
_texts_decoder = msgspec.json.Decoder(list[msgspec.Raw])
_file_decoder = msgspec.json.Decoder(_Listed)
_files_decoder = msgspec.json.Decoder(list[_Listed])
_names_decoder = msgspec.json.Decoder(list[_Name])
_blobs_decoder = msgspec.json.Decoder(list[_Blobs])


def keep(project: ProjectName, files: Iterable[File]) -> KeptRows:
    """Put files into one piece; of two with one name the last one counts."""
    named = {file.filename: file for file in files}
    return _arranged([_entry(file) for file in named.values()], _astray(project, named))


def pack(listed: bytes, hidden: Sequence[Hidden], versions: Sequence[str], strays: Sequence[str]) -> KeptRows:
    """Put together what was made elsewhere, to the same rules."""
    content = _Content(tuple(versions), listed, msgspec.Raw(_encode(hidden)))
    rows = rows_of(_encode((_FORMAT, len(hidden), strays, compress(_encode(content), "zstd"))))
    rows._content = content
    return rows


@lru_cache(maxsize=4)
def rows_of(kept: bytes) -> KeptRows:
    """The rows of a kept page. The last few stay unpacked: a page that was just learned is served at once."""
    return KeptRows(kept)


def page_content(head: PageHead, kept: bytes) -> str:
    """Name what a kept page says, its head included: another name for each that looks different (`Standing.content`)."""
    shown = replace(head, validators={}, fetched=None)
    return hashlib.blake2b(_encode((shown, kept)), digest_size=16).hexdigest()


class KeptRows(Collection[PageRow]):
    """The rows of a kept page, by filename, made while they are taken. Raises `Corrupt`, when it is made or later, for other bytes."""

    def __init__(self, kept: bytes) -> None:
        """Read what the page is; its files are unpacked when somebody wants one."""
        try:
            self._kept = _kept_decoder.decode(kept)
        except msgspec.DecodeError as error:
            raise Corrupt(f"a kept page cannot be read: {error}") from error
        if self._kept.format != _FORMAT:
            raise Corrupt(f"a kept page has the format {self._kept.format}; this program knows {_FORMAT}")
        self.kept = kept

    @property
    def strays(self) -> tuple[str, ...]:
        """The files whose names do not lead to the project."""
        return self._kept.strays

    def __len__(self) -> int:
        return self._kept.count

    def __iter__(self) -> Iterator[PageRow]:
        named = sorted(self.files(), key=lambda pair: pair[1].filename)
        return (PageRow(file.filename, file.version, shown, encode_file(file)) for shown, file in named)

    def __contains__(self, row: object) -> bool:
        return any(each == row for each in self)

    def files(self) -> Iterator[tuple[bytes, File]]:
        """Each file with its fragment, in the order of the page."""
        listed = self._content.listed
        for text, shown, hidden in zip(
            _texts_decoder.decode(listed), _files_decoder.decode(listed), self._hidden, strict=True
        ):
            yield bytes(text)[len(_OPENING) : -1], _file(shown, hidden)

    def find(self, filename: str) -> File | None:
        """One file by its name; no other is decoded."""
        listed = self._content.listed
        place = listed.find(b'"filename":' + _encode_json(filename) + b",")
        if place < 0:
            return None
        start = listed.rfind(_OPENING, 0, place)
        end = listed.find(b"," + _OPENING, place)
        text = listed[start : end if end >= 0 else -1]
        return _file(_file_decoder.decode(text), self._hidden[listed.count(_OPENING, 0, start)])

    def edited(self, project: ProjectName, put: Iterable[File], drop: Iterable[str]) -> KeptRows:
        """The page with a difference applied, drops first. What it does not name is not encoded anew."""
        new = {file.filename: file for file in put}
        gone = {*drop, *new}
        listed = self._content.listed
        names = (each.filename for each in _names_decoder.decode(listed))
        entries = [
            _Entry(name, bytes(text), hidden)
            for name, text, hidden in zip(names, _texts_decoder.decode(listed), self._hidden, strict=True)
            if name not in gone
        ]
        strays = {name for name in self.strays if name not in gone} | _astray(project, new)
        return _arranged(entries + [_entry(file) for file in new.values()], strays)

    def blobs(self) -> list[Sha256]:
        """The sha256 of every file and sidecar, where it is known."""
        found = _blobs_decoder.decode(self._content.listed)
        return [
            *(each.hashes["sha256"] for each in found if "sha256" in each.hashes),
            *(each.core_metadata.sha256 for each in found if isinstance(each.core_metadata, _Sidecar)),
        ]

    def versions(self, others: Sequence[str] = ()) -> tuple[str, ...]:
        """The versions that a page lists, those without files among them."""
        if not others:
            return self._content.versions
        return listed_versions(version_ranks({*(each.version for each in self._hidden), *others}))

    @property
    def json_size(self) -> int:
        """Bytes of `json("")`."""
        return len(self._content.listed)

    @property
    def is_ordinary(self) -> bool:
        """Whether the page is of a size that is kept in one piece."""
        return len(self) <= MOST_FILES and self.json_size <= MOST_BYTES

    def json(self, prefix: str) -> bytes:
        """The files as a JSON array, in the order of the page, with a prefix before each link."""
        return self._content.listed.replace(_OPENING, b'{"url":' + _encode_json(prefix)[:-1])

    @cached_property
    def _content(self) -> _Content:
        try:
            return _content_decoder.decode(decompress(self._kept.packed, "zstd"))
        except (msgspec.DecodeError, ZstdError) as error:
            raise Corrupt(f"a kept page cannot be read: {error}") from error

    @property
    def _hidden(self) -> list[Hidden]:
        return _hidden_decoder.decode(self._content.hidden)


class KeptEntries(Collection[PageEntry]):
    """The files of a kept page that is served alone, as it is."""

    def __init__(self, prefix: str, origin: IndexName, rows: KeptRows) -> None:
        self.prefix = prefix
        self.origin = origin
        self.rows = rows

    def __len__(self) -> int:
        return len(self.rows)

    def __iter__(self) -> Iterator[PageEntry]:
        for shown, file in self.rows.files():
            yield PageEntry(self.prefix, self.origin, PageRow(file.filename, file.version, shown, encode_file(file)))

    def __contains__(self, entry: object) -> bool:
        return any(each == entry for each in self)


class _Entry(NamedTuple):
    filename: str
    text: bytes
    hidden: Hidden


def _entry(file: File) -> _Entry:
    text = _OPENING + fragment(file) + b"}"
    hidden = Hidden(file.version, file.url)
    if _file(_file_decoder.decode(text), hidden) != file:
        hidden = Hidden(file.version, file.url, encode_file(file))
    return _Entry(file.filename, text, hidden)


def _arranged(entries: Sequence[_Entry], strays: AbstractSet[str]) -> KeptRows:
    ranks = version_ranks({entry.hidden.version for entry in entries})
    ordered = sorted(entries, key=lambda entry: (ranks[entry.hidden.version], entry.filename))
    return pack(
        b"[" + b",".join([entry.text for entry in ordered]) + b"]",
        [entry.hidden for entry in ordered],
        listed_versions(ranks),
        [entry.filename for entry in ordered if entry.filename in strays],
    )


def _astray(project: ProjectName, filenames: Iterable[str]) -> AbstractSet[str]:
    return {name for name in filenames if not leads_to(name, project)}


def _file(listed: _Listed, hidden: Hidden) -> File:
    if hidden.whole is not None:
        return decode_file(hidden.whole)
    sidecar = listed.core_metadata
    return File(
        filename=listed.filename,
        version=hidden.version,
        digests=listed.hashes,
        size=listed.size,
        upload_time=from_rfc3339(listed.upload_time) if listed.upload_time is not None else None,
        requires_python=listed.requires_python,
        yanked=listed.yanked,
        metadata_sha256=sidecar.sha256 if isinstance(sidecar, _Sidecar) else None,
        metadata_offered=sidecar is True,
        provenance=listed.provenance,
        gpg_sig=listed.gpg_sig,
        url=hidden.url,
    )
