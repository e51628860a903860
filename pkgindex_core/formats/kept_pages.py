"""Mirrored pages in one piece: all files, packed in the form in which they are served, so that serving decodes none of them.

    kept = msgpack [format, count, strays, packed]
    packed = zstd of msgpack [versions, listed, hidden]

    listed   the files' JSON objects as one array, by version and then filename, as a page of a single index shows them:
             [{"url":"+f/b9b/94088c1a2fe8f/demo-1.0.tar.gz","filename":"demo-1.0.tar.gz",…},…]
    hidden   in the same order, the fields of a file that no page shows: [version, upstream's URL] and, if the file has more
             fields than these, the whole `File`

Links are relative to the root of the index (`fragments`), so a page of one index is this array with a prefix before each link. A
search for the beginning of an object or for a key never matches inside a text, because quotes in JSON strings are escaped.

A stray is a file whose name does not lead to its project (`filenames.leads_to`). Stores find strays by an index of their own. Pure.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from functools import cached_property, lru_cache
from hashlib import blake2b, sha256
from itertools import compress as compress_by
from typing import Any, Final, NamedTuple

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from pkgindex_core.clock import from_rfc3339
from pkgindex_core.compression import ZstdError, compress, decompress
from pkgindex_core.digests import Sha256
from pkgindex_core.errors import Corrupt
from pkgindex_core.formats.columns import Columns
from pkgindex_core.formats.filenames import leads_to
from pkgindex_core.formats.fragments import fragment
from pkgindex_core.formats.versions import listed_versions, version_ranks
from pkgindex_core.models import File, PageHead, PageRow, decode_file, encode_file
from pkgindex_core.names import IndexName, ProjectName
from pkgindex_core.protocols.policies import PageEntry

MOST_FILES: Final = 10_000
"""The most files of a page in one piece. In a larger page, a change of one file would cost too much."""
MOST_BYTES: Final = 4 << 20
"""The most bytes of JSON of a page in one piece, for the same reason."""
_USUAL_BYTES: Final = 32 * 1024
"""The most bytes of a usual page in one piece, of some 300 files. Unpacked it has five times as many."""
_FORMAT: Final = 1
_OPENING: Final = b'{"url":"'


class _Sidecar(Struct, frozen=True, gc=False):
    sha256: Sha256


class _ListedFields(Struct, frozen=True, rename="kebab", gc=False):
    """A file's JSON object on a page; missing keys are unknown (`fragments.fragment`)."""

    filename: str
    hashes: dict[str, str]
    requires_python: str = ""
    size: int | None = None
    upload_time: str | None = None
    yanked: bool | str = False
    core_metadata: _Sidecar | bool = False
    gpg_sig: bool | None = None
    provenance: str = ""


class HiddenFields(Struct, frozen=True, array_like=True, gc=False):
    """The fields of a file that no page shows."""

    version: str
    url: str
    """Its URL at the upstream."""
    whole: bytes | None = None
    """The whole file, encoded by `encode_file`, if it has more than the listed fields and the two above."""


class _VersionField(Struct, frozen=True, array_like=True, gc=False):
    """The first of `HiddenFields`."""

    version: str


class _KeptPage(Struct, frozen=True, array_like=True):
    format: int
    count: int
    strays: tuple[str, ...]
    packed: bytes


class _Content(Struct, frozen=True, array_like=True):
    versions: tuple[str, ...]
    """The versions of the files, as a page lists them."""
    listed: bytes
    hidden: msgspec.Raw


class _Name(Struct, frozen=True, gc=False):
    filename: str


class _BlobFields(Struct, frozen=True, rename="kebab", gc=False):
    hashes: Mapping[str, Sha256]
    core_metadata: _Sidecar | bool = False


_encode_json = msgspec.json.Encoder().encode
_encode = msgspec.msgpack.Encoder().encode
_kept_decoder = msgspec.msgpack.Decoder(_KeptPage)
_content_decoder = msgspec.msgpack.Decoder(_Content)
_hidden_decoder = msgspec.msgpack.Decoder(list[HiddenFields])
_versions_decoder = msgspec.msgpack.Decoder(list[_VersionField])
_one_hidden_decoder = msgspec.msgpack.Decoder(HiddenFields)
_raw_list_decoder = msgspec.msgpack.Decoder(list[msgspec.Raw])
_texts_decoder = msgspec.json.Decoder(list[msgspec.Raw])
_file_decoder = msgspec.json.Decoder(_ListedFields)
_files_decoder = msgspec.json.Decoder(list[_ListedFields])
_name_decoder = msgspec.json.Decoder(_Name)
_names_decoder = msgspec.json.Decoder(list[_Name])
_blobs_decoder = msgspec.json.Decoder(list[_BlobFields])


def keep(project: ProjectName, files: Iterable[File]) -> KeptRows:
    """Pack files into one piece; of two files with one name the last one counts."""
    named = {file.filename: file for file in files}
    return _arranged([_entry(file) for file in named.values()], _astray(project, named))


def join(
    listed: bytes,
    hidden: Sequence[HiddenFields | tuple[str, str, None]],
    versions: Sequence[str],
    strays: Sequence[str],
) -> KeptRows:
    """The rows of parts that the caller made by the rules above. They are packed when `kept` is read."""
    rows = KeptRows.__new__(KeptRows)
    rows._count, rows._strays, rows._packed, rows._known = len(hidden), tuple(strays), None, {}
    rows._content = _Content(tuple(versions), listed, msgspec.Raw(_encode(hidden)))
    return rows


def rows_of(kept: bytes) -> KeptRows:
    """The rows of a kept page. The latest ones stay unpacked, few large ones: a resolver that reads pages of many projects asks for a sidecar of
    each next.
    """
    return _usual_rows(kept) if len(kept) <= _USUAL_BYTES else _large_rows(kept)


@lru_cache(maxsize=32)
def _usual_rows(kept: bytes) -> KeptRows:
    return KeptRows(kept)


@lru_cache(maxsize=2)
def _large_rows(kept: bytes) -> KeptRows:
    return KeptRows(kept)


def page_content(head: PageHead, rows: KeptRows) -> str:
    """Name the content of a kept page and its head (`Standing.content`). Pages that look different have different names."""
    shown = replace(head, validators={}, fetched=None)
    return blake2b(_encode((shown, rows.digest)), digest_size=16).hexdigest()


class KeptRows(Collection[PageRow]):
    """The rows of a kept page, by filename, made during iteration. The constructor or a later call raises `Corrupt` for damaged bytes."""

    def __init__(self, kept: bytes) -> None:
        """Read the outer fields. Files are unpacked at their first use."""
        try:
            outer = _kept_decoder.decode(kept)
        except msgspec.DecodeError as error:
            raise Corrupt(f"a kept page cannot be read: {error}") from error
        if outer.format != _FORMAT:
            raise Corrupt(f"a kept page has the format {outer.format}; this program knows {_FORMAT}")
        self._count, self._strays = outer.count, outer.strays
        self._packed: bytes | None = kept
        self._known: dict[str, Any] = {}
        """The columns that were read."""

    @property
    def kept(self) -> bytes:
        """The kept page. Rows that were joined are packed now, which takes some milliseconds for a long page."""
        if self._packed is None:
            packed = compress(_encode(self._content), "zstd")
            self._packed = _encode((_FORMAT, self._count, self._strays, packed))
        return self._packed

    @cached_property
    def digest(self) -> bytes:
        """Names the content, without packing it."""
        content = self._content
        # SHA-256 is the fastest digest of the processors that have it in hardware.
        listed, hidden = sha256(content.listed).digest(), sha256(content.hidden).digest()
        return sha256(_encode((_FORMAT, self._strays, content.versions, listed, hidden))).digest()

    @property
    def size(self) -> int:
        """The bytes that the rows take in memory, packed or not."""
        return len(self._packed) if self._packed is not None else len(self._content.listed) + len(self._content.hidden)

    @property
    def strays(self) -> tuple[str, ...]:
        """The files whose names do not lead to the project."""
        return self._strays

    def __len__(self) -> int:
        return self._count

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

    def pieces(self) -> list[bytes]:
        """The array without the openings of its objects: first what is before all, then each file with what is behind it, in the order of the page."""
        return self._content.listed.split(_OPENING)

    def columns(self, objects: Callable[[], Sequence[bytes]] = lambda: ()) -> Columns:
        """Single fields of the files, in the same order. `objects` are their pieces, of which only versions have no need."""
        return Columns(
            objects,
            lambda: self._content.listed,
            lambda: [each.version for each in _versions_decoder.decode(self._content.hidden)],
            self._known,
        )

    def at(self, positions: Iterable[int], pieces: Sequence[bytes] = ()) -> dict[int, File]:
        """The files at some places in this order. `pieces`, if they are at hand."""
        pieces, hidden = pieces or self.pieces(), _raw_list_decoder.decode(self._content.hidden)
        return {
            at: _file(_file_decoder.decode(_OPENING + pieces[at + 1][:-1]), _one_hidden_decoder.decode(hidden[at]))
            for at in positions
        }

    def find(self, filename: str) -> File | None:
        """One file by its name, without decoding others. Quickest for the newest files, which are asked for most and stand at the end."""
        listed = self._content.listed
        place = listed.rfind(b'"filename":' + _encode_json(filename) + b",")
        if place < 0:
            return None
        start = listed.rfind(_OPENING, 0, place)
        end = listed.find(b"," + _OPENING, place)
        text = listed[start : end if end >= 0 else -1]
        hidden = _raw_list_decoder.decode(self._content.hidden)[-listed.count(_OPENING, start)]
        return _file(_file_decoder.decode(text), _one_hidden_decoder.decode(hidden))

    def edited(self, project: ProjectName, put: Iterable[File], drop: Iterable[str]) -> KeptRows:
        """The page with a difference applied, drops first. Other files are not encoded again."""
        new = {file.filename: file for file in put}
        gone = {*drop, *new}
        listed = self._content.listed
        names = (each.filename for each in _names_decoder.decode(listed))
        entries = [
            _KeptFile(name, bytes(text), hidden)
            for name, text, hidden in zip(names, _texts_decoder.decode(listed), self._hidden, strict=True)
            if name not in gone
        ]
        strays = {name for name in self.strays if name not in gone} | _astray(project, new)
        return _arranged(entries + [_entry(file) for file in new.values()], strays)

    def blobs(self) -> list[Sha256]:
        """The known sha256 of all files and sidecars."""
        found = _blobs_decoder.decode(self._content.listed)
        return [
            *(each.hashes["sha256"] for each in found if "sha256" in each.hashes),
            *(each.core_metadata.sha256 for each in found if isinstance(each.core_metadata, _Sidecar)),
        ]

    def versions(self, others: Sequence[str] = ()) -> tuple[str, ...]:
        """The versions that a page lists, with `others` that have no files."""
        if not others:
            return self._content.versions
        return listed_versions(version_ranks({*(each.version for each in self._hidden), *others}))

    @property
    def json_size(self) -> int:
        """Bytes of `json("")`."""
        return len(self._content.listed)

    @property
    def is_ordinary(self) -> bool:
        """Whether the page is small enough to be kept in one piece."""
        return len(self) <= MOST_FILES and self.json_size <= MOST_BYTES

    def json(self, prefix: str) -> bytes:
        """The files as a JSON array, in the order of the page, with a prefix before each link."""
        return _opening(prefix).join(self.pieces())  # `replace` goes through the text twice

    @cached_property
    def _content(self) -> _Content:
        try:
            packed = _kept_decoder.decode(self.kept).packed
            content = _content_decoder.decode(decompress(packed, "zstd"))
        except (msgspec.DecodeError, ZstdError) as error:
            raise Corrupt(f"a kept page cannot be read: {error}") from error
        # The copy frees everything that was unpacked: what was decoded refers to that.
        return _Content(content.versions, content.listed, content.hidden.copy())

    @property
    def _hidden(self) -> list[HiddenFields]:
        return _hidden_decoder.decode(self._content.hidden)


class KeptEntries(Collection[PageEntry]):
    """The files of a kept page that is served as it is, perhaps without those at some places (`hidden`)."""

    def __init__(self, prefix: str, origin: IndexName, rows: KeptRows, hidden: AbstractSet[int] = frozenset()) -> None:
        self.prefix = prefix
        self.origin = origin
        self.rows = rows
        self.hidden = hidden

    def __len__(self) -> int:
        return len(self.rows) - len(self.hidden)

    def __iter__(self) -> Iterator[PageEntry]:
        for shown, file in self.files():
            yield PageEntry(self.prefix, self.origin, PageRow(file.filename, file.version, shown, encode_file(file)))

    def __contains__(self, entry: object) -> bool:
        return any(each == entry for each in self)

    @cached_property
    def pieces(self) -> list[bytes]:
        """`KeptRows.pieces`, also of hidden files."""
        return self.rows.pieces()

    def filename(self, place: int) -> str:
        """The name of the file at a place."""
        return _name_decoder.decode(_OPENING + self.pieces[place + 1][:-1]).filename

    def without(self, hidden: AbstractSet[int]) -> KeptEntries:
        """The entries without those at some places, which take over what was read of these."""
        entries = KeptEntries(self.prefix, self.origin, self.rows, hidden)
        entries.pieces = self.pieces
        return entries

    def files(self) -> Iterator[tuple[bytes, File]]:
        """Each file with its fragment, in the order of the page."""
        return (each for at, each in enumerate(self.rows.files()) if at not in self.hidden)

    def json(self) -> bytes:
        """The files as a JSON array, with the prefix before each link."""
        pieces = self.pieces
        if self.hidden:
            shown = bytearray(b"\1") * len(pieces)
            for at in self.hidden:
                shown[at + 1] = 0
            pieces = [*compress_by(pieces, shown)]
            pieces[-1] = pieces[-1][:-1] + b"]" if len(pieces) > 1 else b"[]"
        return _opening(self.prefix).join(pieces)


class _KeptFile(NamedTuple):
    filename: str
    text: bytes
    hidden: HiddenFields


def _opening(prefix: str) -> bytes:
    return b'{"url":' + _encode_json(prefix)[:-1]


def _entry(file: File) -> _KeptFile:
    text = _OPENING + fragment(file) + b"}"
    hidden = HiddenFields(file.version, file.url)
    if _file(_file_decoder.decode(text), hidden) != file:
        hidden = HiddenFields(file.version, file.url, encode_file(file))
    return _KeptFile(file.filename, text, hidden)


def _arranged(entries: Sequence[_KeptFile], strays: AbstractSet[str]) -> KeptRows:
    ranks = version_ranks({entry.hidden.version for entry in entries})
    ordered = sorted(entries, key=lambda entry: (ranks[entry.hidden.version], entry.filename))
    return join(
        b"[" + b",".join([entry.text for entry in ordered]) + b"]",
        [entry.hidden for entry in ordered],
        listed_versions(ranks),
        [entry.filename for entry in ordered if entry.filename in strays],
    )


def _astray(project: ProjectName, filenames: Iterable[str]) -> AbstractSet[str]:
    return {name for name in filenames if not leads_to(name, project)}


def _file(listed: _ListedFields, hidden: HiddenFields) -> File:
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
