"""Archives that must be refused, and odd ones that must not: made here, from nothing, always the same.

    for case in every_case():
        answer = upload(case.filename, case.data)

The zip cases go through the ways in which two zip readers can be made to see different files, the tar cases the ways out
of the directory that one extracts to, the bombs what a small file can cost. Each refused case says a part of the reason
that must be given, so that a case refused for something else is noticed. Nothing is ever unpacked to make or to judge them.
"""

from __future__ import annotations

import bz2
import hashlib
import lzma
import struct
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Literal

from msgspec import Struct

from pkgindex_core.compression import compress
from pkgindex_core.testing.wheels import build_sdist, core_metadata, record_of, tar_gz_of, zip_of
from tests.corpora import tar_parts as tar
from tests.corpora.zip_parts import (
    DESCRIPTOR,
    FULL_16,
    FULL_32,
    STORED,
    UTF8,
    Entry,
    assemble,
    deflate,
    unicode_path_extra,
    zip64_extra,
)

MIB = 1024 * 1024


class Case(Struct, frozen=True, kw_only=True):
    """One archive and what must become of it."""

    name: str
    kind: Literal["zip", "tar", "bomb"]
    filename: str
    data: bytes
    expected: Literal["accept", "reject"]
    because: str = ""
    """A part of the reason that a refusal must give."""
    merely_unusual: bool = False
    """Refused by the rules `pypi` alone; `lenient` takes it, and gives the reason as a warning."""

    def expected_by(self, rules: str) -> Literal["accept", "reject"]:
        """What must become of it under these rules."""
        return "accept" if self.merely_unusual and rules == "lenient" else self.expected

    def __repr__(self) -> str:
        return f"Case({self.kind} {self.name}: {self.expected})"


def every_case() -> Iterator[Case]:
    """The whole corpus. Bombs come last; each is a few megabytes at most."""
    yield from zip_cases()
    yield from tar_cases()
    yield from bomb_cases()


WHEEL = "demo-1.0-py3-none-any.whl"
SDIST = "demo-1.0.tar.gz"
_INFO = "demo-1.0.dist-info"
_FILES = {"demo/__init__.py": b"", "demo/code.py": b"print('demo')\n" * 20, "demo/data.bin": bytes(range(256))}


def _wheel_members(
    files: Mapping[str, bytes] | None = None, info: Mapping[str, bytes] | None = None
) -> dict[str, bytes]:
    """The members of a proper wheel; `info` replaces files of .dist-info before RECORD is written."""
    members = dict(_FILES if files is None else files)
    members[f"{_INFO}/METADATA"] = core_metadata("demo", "1.0")
    members[f"{_INFO}/WHEEL"] = b"Wheel-Version: 1.0\nGenerator: corpus\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    members.update({f"{_INFO}/{part}": data for part, data in (info or {}).items()})
    members[f"{_INFO}/RECORD"] = record_of(members, f"{_INFO}/RECORD")
    return members


def _entries(members: dict[str, bytes] | None = None) -> list[Entry]:
    return [Entry(name.encode(), data) for name, data in (members or _wheel_members()).items()]


def _at(entries: Sequence[Entry], name: str) -> Entry:
    return next(entry for entry in entries if entry.name == name.encode())


def zip_cases() -> Iterator[Case]:
    """Wheels: first those that must be taken."""
    for name, data in _good_zips():
        yield Case(name=name, kind="zip", filename=WHEEL, data=data, expected="accept")
    for collection in (_bad_records, _bad_headers, _bad_extras, _bad_names, _bad_members, _bad_data, _bad_wheels):
        for name, data, because in collection():
            yield Case(name=name, kind="zip", filename=WHEEL, data=data, expected="reject", because=because)
    yield from _unusual(_unusual_zips(), "zip", WHEEL)


def _unusual(cases: Iterator[tuple[str, bytes, str]], kind: Literal["zip", "tar"], filename: str) -> Iterator[Case]:
    for name, data, because in cases:
        yield Case(
            name=name,
            kind=kind,
            filename=filename,
            data=data,
            expected="reject",
            because=because,
            merely_unusual=True,
        )


def _good_zips() -> Iterator[tuple[str, bytes]]:
    members = _wheel_members()
    yield "deflated", zip_of(members)
    yield "stored", zip_of(members, stored=True)
    yield "compressed-by-zstd", _compressed(93)
    yield "by-hand", assemble(_entries())
    entries = _entries()
    yield "directory-in-another-order", assemble(entries, directory_order=list(reversed(range(len(entries)))))
    entries = _entries()
    entries.insert(0, Entry(b"demo/", method=STORED, central={"attributes": (0o40755 << 16) | 0x10}))
    yield "directory-entries", assemble(entries)
    yield "comment", assemble(_entries(), comment=b"built on a Tuesday")
    yield "zip64-end-record", assemble(_entries(), with_end64=True, with_locator=True)
    everything = {"here": FULL_16, "count": FULL_16, "size": FULL_32, "start": FULL_32}
    yield "zip64-end-record-needed", assemble(_entries(), with_end64=True, with_locator=True, end=everything)
    entries = _entries()
    for entry in entries:
        sizes = zip64_extra(len(entry.data), len(entry.packed()))
        entry.local = {"packed": FULL_32, "size": FULL_32, "extra": sizes}
    yield "zip64-local-sizes", assemble(entries)
    entries = _entries()
    for entry in entries:
        sizes = zip64_extra(len(entry.data), len(entry.packed()))
        entry.local = entry.central = {"packed": FULL_32, "size": FULL_32, "extra": sizes}
    yield "zip64-sizes-everywhere", assemble(entries)
    entries = _entries()
    entries[1].local["extra"] = zip64_extra(len(entries[1].data), len(entries[1].packed()))
    yield "zip64-local-repeats-what-stands-there", assemble(entries)
    entries = _entries()
    entries[1].central = {"size": FULL_32, "extra": zip64_extra(len(entries[1].data))}
    entries[0].central = {"offset": FULL_32, "extra": zip64_extra(0)}
    yield "zip64-exactly-what-is-needed", assemble(entries)
    entries = _entries()
    stamp = struct.pack("<HHBI", 0x5455, 5, 1, 0)
    for entry in entries:
        entry.local["extra"] = entry.central["extra"] = stamp
    yield "timestamps-in-extras", assemble(entries)
    members = _wheel_members({**_FILES, "demo/gr\u00fc\u00dfe.txt": b"servus"})
    yield "names-in-utf-8", assemble(_entries(members))
    entries = _entries(members)
    special = next(entry for entry in entries if not entry.name.isascii())
    special.local["extra"] = special.central["extra"] = unicode_path_extra(special.name)
    yield "unicode-path-equal-to-name", assemble(entries)
    members = _wheel_members()
    members[f"{_INFO}/RECORD.jws"] = b"{}"
    members[f"{_INFO}/RECORD.p7s"] = b"signature"
    yield "signatures-beside-record", zip_of(members)
    members = _wheel_members()
    code = hashlib.sha256(members["demo/code.py"]).hexdigest().encode()
    record = _without_line(members[f"{_INFO}/RECORD"], b"demo/code.py")
    members[f"{_INFO}/RECORD"] = b"demo/code.py,sha256=" + code + b",%d\n" % len(members["demo/code.py"]) + record
    yield "record-in-hexadecimal", zip_of(members)
    members = _wheel_members()
    members[f"{_INFO}/RECORD"] = members[f"{_INFO}/RECORD"].replace(b"\n", b"\r\n")
    yield "record-with-crlf", zip_of(members)
    yield "record-with-comma-in-name", zip_of(_wheel_members({**_FILES, "demo/a,b.txt": b"x"}))
    entries = _entries()
    entries[1].body = deflate(entries[1].data, 0)
    yield "deflated-without-compression", assemble(entries)
    yield (
        "entry-points",
        zip_of(_wheel_members(info={"entry_points.txt": b"[console_scripts]\ndemo-1.x = demo:main [extra]\n"})),
    )
    inner = zip_of({"inner.txt": b"inner"}, stored=True)
    yield "a-zip-inside", zip_of(_wheel_members({**_FILES, "demo/inner.zip": inner}), stored=True)
    yield "names-that-differ-in-case", zip_of(_wheel_members({**_FILES, "demo/CODE.py": b"x"}))
    yield "startup-file", zip_of(_wheel_members({**_FILES, "demo.pth": b"import demo"}))


def _bad_records() -> Iterator[tuple[str, bytes, str]]:
    """The end records, and bytes where none should be."""
    good = assemble(_entries())
    size = len(good)
    other = zip_of(_wheel_members({"demo/evil.py": b"evil"}))
    yield "not-a-zip", b"this is not a zip\n" * 40, "not a zip file"
    yield "empty-file", b"", "not a zip file"
    yield "empty-zip", assemble([]), "no directory"
    yield "cut-in-half", good[: size // 2], "cut off"
    yield "last-byte-missing", good[:-1], "cut off"
    yield "first-byte-missing", good[1:], "directory is not where"
    yield "prefix", assemble(_entries(), prefix=b"#!/bin/sh\n"), "bytes before"
    yield (
        "prefix-not-counted",
        assemble(_entries(), prefix=b"#!/bin/sh\n", count_prefix=False),
        "directory is not where",
    )
    yield "suffix", good + b"\0" * 10, "bytes follow"
    yield "suffix-not-comment", good + b"tail", "bytes follow"
    yield "comment-shorter-than-said", assemble(_entries(), comment=b"abc", end={"comment": 5}), "cut off"
    yield "comment-longer-than-said", assemble(_entries(), comment=b"abc", end={"comment": 1}), "bytes follow"
    yield "zip-in-comment", assemble(_entries(), comment=other), "directory is not where"
    yield "signature-in-comment", assemble(_entries(), comment=b"PK\x01\x02"), "looks like a part of a zip"
    yield "two-zips-in-a-row", good + other, "directory is not where"
    yield "end-record-twice", good + good[-22:], "directory is not where"
    yield "bytes-before-directory", assemble(_entries(), before_directory=b"gap"), "between its last member"
    yield "bytes-before-end", assemble(_entries(), before_end=b"gap"), "directory is not where"
    entries = _entries()
    entries[1].after = b"gap"
    yield "bytes-between-members", assemble(entries), "bytes before or between"
    count = len(entries)
    yield "count-too-small", assemble(_entries(), end={"here": count - 1, "count": count - 1}), "more members"
    yield "count-too-large", assemble(_entries(), end={"here": count + 1, "count": count + 1}), "fewer members"
    yield "count-here-differs", assemble(_entries(), end={"here": count - 1}), "contradicts itself"
    yield "count-zero", assemble(_entries(), end={"here": 0, "count": 0}), "more members"
    directory = assemble(_entries(), end={"size": 46})
    yield "directory-size-wrong", directory, "directory is not where"
    yield "directory-start-wrong", assemble(_entries(), end={"start": 1}), "directory is not where"
    yield "second-disk", assemble(_entries(), end={"disk": 1}), "several disks"
    yield "directory-on-second-disk", assemble(_entries(), end={"first_disk": 1}), "several disks"
    yield "member-on-second-disk", _with_central({"disk": 1}), "several disks"
    yield "end64-without-locator", assemble(_entries(), with_end64=True), "directory is not where"
    yield "locator-without-end64", assemble(_entries(), with_locator=True), "not where its locator says"
    both: dict[str, Any] = {"with_end64": True, "with_locator": True}
    yield "locator-elsewhere", assemble(_entries(), **both, locator={"place": 0}), "not where its locator says"
    yield "locator-of-many-disks", assemble(_entries(), **both, locator={"disks": 2}), "several disks"
    yield "end64-extensible", assemble(_entries(), **both, end64_tail=b"data"), "not where its locator says"
    yield "end64-length-wrong", assemble(_entries(), **both, end64={"length": 60}), "extensible data"
    yield (
        "end64-contradicts-end",
        assemble(_entries(), **both, end64={"count": count - 1, "here": count - 1}),
        "contradict",
    )
    yield "end64-other-directory", assemble(_entries(), **both, end64={"start": 0}), "contradict"
    yield "end64-second-disk", assemble(_entries(), **both, end64={"disk": 1}), "several disks"
    yield "end64-count-here-differs", assemble(_entries(), **both, end64={"here": 1}), "contradicts itself"
    yield "end64-missing-and-needed", assemble(_entries(), end={"start": FULL_32}), "not there"
    broken = bytearray(assemble(_entries(), **both))
    place = broken.rindex(b"PK\x06\x06")
    broken[place : place + 4] = b"PK\x06\x05"
    yield "end64-signature-wrong", bytes(broken), "does not lead to"


def _with_local(fields: dict[str, Any], index: int = 1) -> bytes:
    entries = _entries()
    entries[index].local = fields
    return assemble(entries)


def _with_central(fields: dict[str, Any], index: int = 1) -> bytes:
    entries = _entries()
    entries[index].central = fields
    return assemble(entries)


def _with_both(fields: dict[str, Any], index: int = 1) -> bytes:
    entries = _entries()
    entries[index].local = dict(fields)
    entries[index].central = dict(fields)
    return assemble(entries)


def _bad_headers() -> Iterator[tuple[str, bytes, str]]:
    """Headers that disagree with the directory."""
    entries = _entries()
    packed, size = len(entries[1].packed()), len(entries[1].data)
    yield "packed-size-differs", _with_local({"packed": packed - 1}), "differs from its directory entry"
    yield "size-differs", _with_local({"size": size + 1}), "differs from its directory entry"
    yield "checksum-differs", _with_local({"crc": 1}), "differs from its directory entry"
    yield "method-differs", _with_local({"method": STORED}), "differs from its directory entry"
    yield "flags-differ", _with_local({"flags": UTF8}), "differs from its directory entry"
    yield "name-differs", _with_local({"name": b"demo/evil.py"}), "another name"
    yield "name-differs-in-case", _with_local({"name": b"demo/CODE.py"}), "another name"
    yield "name-longer-in-header", _with_local({"name": b"demo/code.pyc"}), "another name"
    yield "offset-wrong", _with_central({"offset": 3}), "overlap"
    entries = _entries()
    twin = Entry(entries[1].name, b"evil")
    yield "twice-in-both", assemble([*entries, twin]), "stands twice"
    yield "hidden-from-directory", assemble([*entries, Entry(b"demo/evil.py", b"evil", in_central=False)]), "bytes"
    first = [Entry(b"demo/evil.py", b"evil", in_central=False), *_entries()]
    yield "hidden-from-directory-at-the-start", assemble(first), "bytes before"
    ghost = Entry(b"demo/evil.py", b"evil", in_local=False)
    yield "only-in-directory", assemble([*_entries(), ghost]), "not where the directory says"
    ghost = Entry(entries[1].name, entries[1].data, in_local=False, central={"offset": 0})
    yield "same-header-twice-in-directory", assemble([*_entries(), ghost]), "overlap"
    yield "twice-only-in-headers", assemble([*_entries(), Entry(entries[1].name, b"evil", in_central=False)]), "bytes"
    spoiled = bytearray(assemble(_entries()))
    spoiled[0:4] = b"PK\x01\x02"
    yield "header-signature-wrong", bytes(spoiled), "not where the directory says"
    spoiled = bytearray(assemble(_entries()))
    second = spoiled.index(b"PK\x01\x02", spoiled.index(b"PK\x01\x02") + 4)
    spoiled[second : second + 4] = b"PK\x05\x05"
    yield "directory-signature-wrong", bytes(spoiled), "something between"
    yield "member-comment", _with_central({"comment": b"hello"}), "has a comment"
    yield "member-reaches-into-directory", _with_both({"packed": 60_000}, index=-1), "directory"
    after = struct.pack("<4sIII", b"PK\x07\x08", zlib.crc32(entries[1].data), packed, size)
    for name, fields, tail in (
        ("descriptor", {"crc": 0, "packed": 0, "size": 0}, after),
        ("descriptor-and-sizes", {}, after),
        ("descriptor-without-signature", {"crc": 0, "packed": 0, "size": 0}, after[4:]),
        ("descriptor-flag-alone", {}, b""),
        ("descriptor-zip64", {"crc": 0, "packed": 0, "size": 0}, after[:8] + struct.pack("<QQ", packed, size)),
    ):
        entries = _entries()
        entries[1].local = {"flags": DESCRIPTOR, **fields}
        entries[1].central = {"flags": DESCRIPTOR}
        entries[1].after = tail
        yield name, assemble(entries), "data descriptor"
    yield "encrypted", _with_both({"flags": 1}), "encrypted"
    yield "version-of-the-future", _with_central({"version": 46}), "newer zip version"
    yield "version-of-the-future-in-header", _with_local({"version": 46}), "newer zip version"
    yield "strongly-encrypted", _with_both({"flags": 0x40}), "unknown flags"
    yield "headers-masked", _with_both({"flags": 0x2000}), "unknown flags"


def _bad_extras() -> Iterator[tuple[str, bytes, str]]:
    entries = _entries()
    packed, size = len(entries[1].packed()), len(entries[1].data)
    good = zip64_extra(size, packed)
    both = {"packed": FULL_32, "size": FULL_32}
    yield "extra-of-three-bytes", _with_local({"extra": b"abc"}), "truncated extra"
    yield "extra-of-three-bytes-in-directory", _with_central({"extra": b"abc"}), "truncated extra"
    yield "extra-longer-than-header", _with_local({"extra": struct.pack("<HH", 0x5455, 9)}), "ends beyond"
    yield "zip64-twice", _with_both({**both, "extra": good + zip64_extra(size, packed - 1)}), "twice"
    yield (
        "zip64-too-long",
        _with_both({**both, "extra": zip64_extra(size, packed, 0, 0, 0)}),
        "longer or shorter than needed",
    )
    yield "zip64-too-short", _with_both({**both, "extra": zip64_extra(size)}), "ZIP64"
    yield (
        "zip64-odd-length",
        _with_both({**both, "extra": struct.pack("<HH", 1, 5) + b"12345"}),
        "longer or shorter than needed",
    )
    yield "zip64-empty-and-needed", _with_both({**both, "extra": struct.pack("<HH", 1, 0)}), "ZIP64"
    yield "zip64-missing-and-needed", _with_both(both), "longer or shorter than needed"
    yield "zip64-contradicts-packed-size", _with_local({"extra": zip64_extra(size, packed + 1)}), "contradicts"
    yield "zip64-contradicts-size", _with_local({"extra": zip64_extra(size + 1, packed)}), "contradicts"
    yield (
        "zip64-only-size-of-deflated",
        _with_local({"size": FULL_32, "extra": zip64_extra(size)}),
        "longer or shorter than needed",
    )
    yield "zip64-only-packed-size", _with_central({"packed": FULL_32, "extra": zip64_extra(packed)}), "ambiguous"
    offset = {"offset": FULL_32, "extra": zip64_extra(size, packed, 0)}
    yield "zip64-offset-behind-sizes", _with_central(offset, index=0), "longer or shorter than needed"
    repeated = {"extra": zip64_extra(size, packed)}
    yield "zip64-repeats-in-directory", _with_central(repeated), "longer or shorter than needed"
    two = {"size": FULL_32, "offset": FULL_32, "extra": zip64_extra(size, 0)}
    yield "zip64-size-and-offset", _with_central(two), "ambiguous"
    alone = {"size": FULL_32, "extra": zip64_extra(size, packed)}
    yield "zip64-both-where-one-is-needed", _with_local(alone), "longer or shorter than needed"
    yield "zip64-sizes-differ-from-directory", _with_local({**both, "extra": zip64_extra(size, packed + 1)}), "differs"
    name = entries[1].name
    evil = b"demo/evil.py"
    yield (
        "unicode-path-of-another-name",
        _with_both({"extra": unicode_path_extra(evil, name)}),
        "Unicode path that differs",
    )
    yield (
        "unicode-path-only-in-directory",
        _with_central({"extra": unicode_path_extra(evil, name)}),
        "Unicode path that differs",
    )
    yield (
        "unicode-path-only-in-header",
        _with_local({"extra": unicode_path_extra(evil, name)}),
        "Unicode path that differs",
    )
    yield (
        "unicode-path-twice",
        _with_both({"extra": unicode_path_extra(name) + unicode_path_extra(evil, name)}),
        "twice",
    )
    yield "unicode-path-too-short", _with_both({"extra": struct.pack("<HHB", 0x7075, 1, 1)}), "malformed Unicode path"
    yield "unicode-path-version", _with_both({"extra": unicode_path_extra(name, version=2)}), "malformed Unicode path"
    yield (
        "unicode-path-checksum",
        _with_both({"extra": unicode_path_extra(name, b"other")}),
        "Unicode path that differs",
    )


def _bad_names() -> Iterator[tuple[str, bytes, str]]:
    for label, name, because in (
        ("name-not-utf-8", b"demo/\xff.py", "not UTF-8"),
        ("name-overlong-utf-8", b"demo/\xc0\xaf.py", "not UTF-8"),
        ("name-with-null", b"demo/a.py\0.txt", "control characters"),
        ("name-with-newline", b"demo/a\n.py", "control characters"),
        ("name-with-delete", b"demo/a\x7f.py", "control characters"),
        ("name-with-c1-control", "demo/a\x85.py".encode(), "control characters"),
        ("name-with-backslash", b"demo\\a.py", "backslash"),
        ("name-absolute", b"/etc/passwd", "absolute"),
        ("name-climbing", b"../evil.py", "leaves the archive"),
        ("name-climbing-inside", b"demo/../../evil.py", "leaves the archive"),
        ("name-with-drive", b"C:evil.py", "drive"),
        ("name-with-dot", b"demo/./code2.py", "simplest form"),
        ("name-with-empty-part", b"demo//code2.py", "simplest form"),
        ("name-empty", b"", "no name"),
        ("name-endless", b"a/" * 2500 + b"a", "longer than"),
    ):
        entries = _entries()
        yield label, assemble([Entry(name, b"x"), *entries]), because
    entries = _entries(_wheel_members({**_FILES, "demo/gr\u00fc\u00dfe.txt": b"servus"}))
    special = next(entry for entry in entries if not entry.name.isascii())
    special.local["flags"] = special.central["flags"] = 0
    yield "name-not-marked-utf-8", assemble(entries), "not marked as UTF-8"
    yield "file-and-directory", zip_of(_wheel_members({**_FILES, "demo/code.py/inner": b"x"})), "a file and a directory"
    entries = [*_entries(), Entry(b"demo/code.py/", method=STORED)]
    yield "file-and-directory-entry", assemble(entries), "a file and a directory"


def _bad_members() -> Iterator[tuple[str, bytes, str]]:
    yield "symlink", _with_central({"attributes": 0o120777 << 16}), "symbolic link"
    yield "symlink-made-on-windows", _with_central({"attributes": 0o120777 << 16, "made_by": 0x0014}), "symbolic link"
    yield "device", _with_central({"attributes": 0o060600 << 16}), "neither a file nor a directory"
    for method, label in ((9, "deflate64"), (0xFFFF, "unknown")):
        yield f"compressed-by-{label}", _with_both({"method": method}), "only stored and deflated"
    for method, label in ((12, "bzip2"), (14, "lzma"), (93, "zstd")):
        yield f"deflated-and-called-{label}", _with_both({"method": method}), "damaged"
        packed = _PACKERS[method](_FILES["demo/code.py"])
        for what, body, because in (
            ("cut-off", packed[: len(packed) // 2], "cut off"),
            ("followed-by-bytes", packed + b"hidden", "behind its compressed data"),
            ("followed-by-another", packed + packed, "behind its compressed data"),
            ("empty", b"", "cut off"),
        ):
            yield f"{label}-{what}", _compressed(method, body), because
    greedy = struct.pack("<BBHBI", 9, 4, 5, 0x5D, 0xFFFFFFFF) + bytes(20)
    yield "lzma-that-wants-gigabytes", _compressed(14, greedy), "damaged"
    far = b"\x28\xb5\x2f\xfd\0" + bytes([(30 - 10) << 3]) + (1).to_bytes(3, "little")
    yield "zstd-that-wants-gigabytes", _compressed(93, far), "damaged"
    yield "newer-version-without-need", _with_both({"version": 63}), "newer zip version"
    entries = _entries()
    entries[1].method = STORED
    entries[1].local = entries[1].central = {"size": len(entries[1].data) + 1}
    yield "stored-sizes-differ", assemble(entries), "its two sizes differ"
    entries = [*_entries(), Entry(b"demo/folder/", b"data", method=STORED)]
    yield "directory-with-data", assemble(entries), "has data"


def _zip_lzma(data: bytes) -> bytes:
    """LZMA as zips have it: version, length of the properties, properties, stream with an end mark."""
    filters = [{"id": lzma.FILTER_LZMA1, "lc": 3, "lp": 0, "pb": 2, "dict_size": 1 << 16}]
    return struct.pack("<BBHBI", 9, 4, 5, 0x5D, 1 << 16) + lzma.compress(data, lzma.FORMAT_RAW, filters=filters)


_PACKERS: Mapping[int, Callable[[bytes], bytes]] = {
    12: bz2.compress,
    14: _zip_lzma,
    93: lambda data: compress(data, "zstd"),
}


def _compressed(method: int, body: bytes | None = None) -> bytes:
    """A wheel with one member compressed in another way, properly unless a `body` says otherwise."""
    entries = _entries()
    entries[1].method = method
    entries[1].body = _PACKERS[method](entries[1].data) if body is None else body
    entries[1].local = entries[1].central = {"version": 63}
    return assemble(entries)


def _unusual_zips() -> Iterator[tuple[str, bytes, str]]:
    yield "compressed-by-bzip2", _compressed(12), "compressed by bzip2"
    yield "compressed-by-lzma", _compressed(14), "compressed by lzma"
    moved = {name.replace("demo-1.0.dist", "Demo-1.0.0.dist"): data for name, data in _wheel_members().items()}
    record = "Demo-1.0.0.dist-info/RECORD"
    moved[record] = record_of({name: data for name, data in moved.items() if name != record}, record)
    yield "dist-info-in-another-spelling", zip_of(moved), "no directory"


def _bad_data() -> Iterator[tuple[str, bytes, str]]:
    """Data that is not what two equal headers promise."""
    yield "checksum-wrong", _with_both({"crc": 7}), "wrong checksum"
    size = len(_FILES["demo/code.py"])
    yield "larger-than-promised", _with_both({"size": size - 1}), "larger than its header says"
    yield "smaller-than-promised", _with_both({"size": size + 1}), "smaller than its header says"
    packed = deflate(_FILES["demo/code.py"])
    for label, body, because in (
        ("deflate-cut-off", packed[:-2], "cut off"),
        ("deflate-followed-by-bytes", packed + b"hidden", "behind its compressed data"),
        ("deflate-followed-by-another", packed + packed, "behind its compressed data"),
        ("deflate-damaged", b"\xff" + packed[1:], "damaged"),
        ("deflate-empty", b"", "cut off"),
    ):
        entries = _entries()
        entries[1].body = body
        yield label, assemble(entries), because
    entries = _entries()
    entries[1].data = entries[1].data.replace(b"demo", b"evil")
    yield "data-differs-from-record", assemble(entries), "another sha256"
    inner = assemble([Entry(b"demo/evil.py", b"evil")])
    entries = [*_entries(), Entry(b"demo/inner.zip", inner, method=STORED)]
    yield "zip-inside-not-in-record", assemble(entries), "does not list"
    tar_bytes = tar.tar_of(tar.header(b"PK\x03\x04 evil.py", b"evil"))
    yield "tar-called-wheel", tar_bytes, "tar archive"
    yield "gzip-called-wheel", tar.gzipped(tar_bytes), "not a zip file"
    yield "zip-and-tar-in-one", _zip_and_tar(), "tar archive"


def _zip_and_tar() -> bytes:
    """A wheel whose first header and name make a tar header, too."""
    padding = b"a" * 470
    entries = [Entry(padding, b"x", method=STORED), *_entries()]
    data = bytearray(assemble(entries))
    # Behind the zip header of 30 bytes the name fills the tar header's block; its checksum goes where tar wants it.
    for blank in range(148, 156):
        data[blank] = 0x20
    data[148:156] = b"%06o\0 " % sum(data[:512])
    spoiled_name = bytes(data[30 : 30 + len(padding)])
    return assemble([Entry(spoiled_name, b"x", method=STORED), *_entries()])


def _bad_wheels() -> Iterator[tuple[str, bytes, str]]:
    """Proper zips that are no proper wheels."""
    record = f"{_INFO}/RECORD"

    def without(part: str) -> bytes:
        members = _wheel_members()
        del members[f"{_INFO}/{part}"]
        if part != "RECORD":
            members[record] = record_of({name: data for name, data in members.items() if name != record}, record)
        return zip_of(members)

    def with_record(change: Callable[[bytes], bytes]) -> bytes:
        members = _wheel_members()
        members[record] = change(members[record])
        return zip_of(members)

    for part in ("METADATA", "WHEEL", "RECORD"):
        yield f"without-{part.lower()}", without(part), f"/{part}'"
    yield "record-lists-too-much", with_record(lambda old: old + b"demo/ghost.py,sha256=abc,3\n"), "does not have"
    yield (
        "record-lists-too-little",
        with_record(lambda old: b"".join(old.splitlines(keepends=True)[1:])),
        "does not list",
    )
    yield "record-hash-wrong", with_record(lambda old: old.replace(b"sha256=", b"sha256=A", 1)), "another sha256"
    yield "record-hash-weak", with_record(lambda old: old.replace(b"sha256=", b"md5=", 1)), "weak hash"
    yield (
        "record-hash-missing",
        with_record(lambda old: b"demo/code.py,,\n" + _without_line(old, b"demo/code.py")),
        "no usable hash",
    )
    yield "record-size-wrong", with_record(lambda old: old.replace(b",256\n", b",257\n")), "has 257 bytes"
    yield "record-size-no-number", with_record(lambda old: old.replace(b",256\n", b",-1\n")), "malformed size"
    yield "record-line-twice", with_record(lambda old: old + old.splitlines(keepends=True)[0]), "twice"
    yield "record-line-short", with_record(lambda old: old + b"demo/code.py\n"), "fields instead of 3"
    yield "record-not-utf-8", with_record(lambda old: old + b"\xff,,\n"), "not UTF-8"
    yield "record-quotes-open", with_record(lambda old: old + b'"demo'), "comma-separated"
    yield "record-empty", with_record(lambda _: b""), "does not list"
    other = {name.replace("demo-1.0.dist", "other-1.0.dist"): data for name, data in _wheel_members().items()}
    yield "dist-info-of-another-name", zip_of(other), "no directory"
    other = {name.replace("demo-1.0.dist", "demo-1.1.dist"): data for name, data in _wheel_members().items()}
    yield "dist-info-of-another-version", zip_of(other), "no directory"
    yield "dist-info-twice", zip_of(_wheel_members({"other-1.dist-info/METADATA": b"x"})), "several .dist-info"
    for label, text, because in (
        ("script-is-a-path", b"[console_scripts]\n../../evil = demo:main\n", "could be a path"),
        ("gui-script-is-a-path", b"[gui_scripts]\n/bin/sh = demo:main\n", "could be a path"),
        ("script-is-dots", b"[console_scripts]\n.. = demo:main\n", "could be a path"),
        ("entry-points-not-ini", b"console_scripts\n", "cannot be read"),
        ("entry-points-with-colons", b"[console_scripts]\ndemo: demo:main\n", "cannot be read"),
        ("entry-points-not-utf-8", b"[console_scripts]\n\xff = demo:main\n", "not UTF-8"),
    ):
        yield label, zip_of(_wheel_members(info={"entry_points.txt": text})), because


def _without_line(record: bytes, start: bytes) -> bytes:
    return b"".join(line for line in record.splitlines(keepends=True) if not line.startswith(start))


def tar_cases() -> Iterator[Case]:
    """Source distributions: first those that must be taken."""
    for name, data in _good_tars():
        yield Case(name=name, kind="tar", filename=SDIST, data=data, expected="accept")
    for collection in (_bad_places, _bad_tar_members, _bad_tar_headers, _bad_streams):
        for name, data, because in collection():
            yield Case(name=name, kind="tar", filename=SDIST, data=data, expected="reject", because=because)
    yield from _unusual(_unusual_tars(), "tar", SDIST)


_PKG_INFO = core_metadata("demo", "1.0")
_METADATA = tar.header(b"demo-1.0/PKG-INFO", _PKG_INFO)


def _sdist(*members: bytes, end: bytes = tar.END) -> bytes:
    return tar.gzipped(tar.tar_of(_METADATA, *members, end=end))


def _good_tars() -> Iterator[tuple[str, bytes]]:
    yield "plain", tar_gz_of({"demo-1.0/PKG-INFO": _PKG_INFO, "demo-1.0/demo.py": b"x"})
    yield "by-hand", _sdist(tar.header(b"demo-1.0/demo.py", b"x" * 700))
    yield "directories", _sdist(tar.header(b"demo-1.0/", kind=b"5"), tar.header(b"demo-1.0/demo", kind=b"5"))
    yield "oldest-directory", _sdist(tar.header(b"demo-1.0/sub/", kind=b"\0", magic=b"\0" * 8))
    yield "oldest-headers", _sdist(tar.header(b"demo-1.0/demo.py", b"x", kind=b"\0", magic=b"\0" * 8))
    long_name = b"demo-1.0/" + b"d" * 120 + b"/demo.py"
    yield "gnu-long-name", _sdist(tar.gnu_long(long_name), tar.header(long_name, b"x", magic=b"ustar  \0"))
    yield "pax-long-name", _sdist(tar.pax((b"path", long_name)), tar.header(long_name, b"x"))
    yield "ustar-prefix", _sdist(tar.header(b"demo.py", b"x", prefix=b"demo-1.0/" + b"d" * 90))
    yield (
        "pax-times-and-attributes",
        _sdist(tar.pax((b"mtime", b"1.5"), (b"SCHILY.xattr.user.x", b"\xff")), tar.header(b"demo-1.0/a", b"x")),
    )
    yield "pax-size-repeated", _sdist(tar.pax((b"size", b"3")), tar.header(b"demo-1.0/a", b"abc"))
    commit = tar.pax((b"comment", b"0" * 40), kind=b"g")
    yield "git-archive-comment", tar.gzipped(tar.tar_of(commit, _METADATA))
    yield "symlink-inside", _sdist(tar.header(b"demo-1.0/docs/a", kind=b"2", target=b"../PKG-INFO"))
    yield "symlink-to-missing", _sdist(tar.header(b"demo-1.0/a", kind=b"2", target=b"not-there"))
    yield (
        "symlink-with-gnu-long-target",
        _sdist(tar.gnu_long(b"d" * 150, b"K"), tar.header(b"demo-1.0/a", kind=b"2", magic=b"ustar  \0")),
    )
    yield "hard-link-inside", _sdist(tar.header(b"demo-1.0/a", kind=b"1", target=b"demo-1.0/PKG-INFO"))
    yield "size-in-base-256", _sdist(tar.header(b"demo-1.0/a", b"abc", size=tar.base256(3)))
    yield "padded-to-10240", _sdist(end=bytes(10_240))
    yield "one-end-block", _sdist(end=bytes(512))
    yield "empty-file-inside", _sdist(tar.header(b"demo-1.0/__init__.py"))
    yield "uncompressed-deflate", tar.gzipped(tar.tar_of(_METADATA), level=0)
    yield "top-directory-of-another-name", tar.gzipped(tar.tar_of(tar.header(b"Demo-1.0/PKG-INFO", _PKG_INFO)))
    yield "with-a-file-name-in-gzip", build_sdist("demo", "1.0").data
    yield "names-that-differ-in-case", _sdist(tar.header(b"demo-1.0/A", b"x"), tar.header(b"demo-1.0/a", b"x"))


def _bad_places() -> Iterator[tuple[str, bytes, str]]:
    """Ways out of the directory that one extracts to (CVE-2007-4559, CVE-2025-4517 and their kin)."""
    for label, name, because in (
        ("absolute", b"/etc/passwd", "absolute"),
        ("climbing", b"demo-1.0/../../evil", "leaves the archive"),
        ("climbing-first", b"../evil", "leaves the archive"),
        ("backslash", b"demo-1.0\\evil", "backslash"),
        ("drive", b"C:/evil", "drive"),
        ("dot-twice", b"././demo-1.0/a", "simplest form"),
        ("dot-inside", b"demo-1.0/./a", "simplest form"),
        ("dot-and-climbing", b"./../evil", "leaves the archive"),
        ("dot-and-absolute", b".//etc/passwd", "absolute"),
        ("dot-and-the-same-without", b"./demo-1.0/PKG-INFO", "stands twice"),
        ("empty-part", b"demo-1.0//a", "simplest form"),
        ("control-character", b"demo-1.0/a\x1b[2J", "control characters"),
        ("not-utf-8", b"demo-1.0/\xff", "not UTF-8"),
        ("no-name", b"", "no name"),
        ("another-top", b"evil-1.0/a", "one top directory"),
        ("beside-the-top", b"setup.py", "one top directory"),
        ("top-of-another-version", b"demo-1.1/a", "one top directory"),
    ):
        yield label, _sdist(tar.header(name, b"x")), because
    yield (
        "climbing-by-pax",
        _sdist(tar.pax((b"path", b"../evil")), tar.header(b"demo-1.0/a", b"x")),
        "leaves the archive",
    )
    yield (
        "climbing-by-gnu-name",
        _sdist(tar.gnu_long(b"../evil"), tar.header(b"demo-1.0/a", b"x")),
        "leaves the archive",
    )
    yield "climbing-by-prefix", _sdist(tar.header(b"evil", b"x", prefix=b"..")), "leaves the archive"
    yield "null-in-pax-path", _sdist(tar.pax((b"path", b"demo-1.0/a\0b")), tar.header(b"demo-1.0/a", b"x")), "control"
    for label, target, because in (
        ("symlink-absolute", b"/etc/passwd", "impossible target"),
        ("symlink-out", b"../../etc/passwd", "leads out"),
        ("symlink-to-above", b"..", "leads out"),
        ("symlink-climbing-behind-a-name", b"a/../../x", "climbs behind a name"),
        ("symlink-with-backslash", b"..\\..\\x", "impossible target"),
        ("symlink-nowhere", b"", "leads nowhere"),
    ):
        yield label, _sdist(tar.header(b"demo-1.0/link", kind=b"2", target=target)), because
    code = tar.header(b"Demo-1.0/demo.py", b"x")
    out = tar.header(b"Demo-1.0/out", kind=b"2", target=b"../../x")
    yield "link-out-of-two-top-directories", _sdist(code, out), "leads out"
    other = tar.header(b"Demo-1.0/PKG-INFO", core_metadata("demo", "1.0", description="other"))
    yield "two-pieces-of-metadata", _sdist(other), "that differ"
    far = tar.gnu_long(b"../" * 80 + b"etc", b"K")
    yield "symlink-out-by-long-target", _sdist(far, tar.header(b"demo-1.0/link", kind=b"2")), "leads out"
    by_pax = tar.pax((b"linkpath", b"../../etc"))
    yield "symlink-out-by-pax", _sdist(by_pax, tar.header(b"demo-1.0/link", kind=b"2")), "leads out"
    link = tar.header(b"demo-1.0/link", kind=b"2", target=b"sub")
    yield "member-below-link", _sdist(link, tar.header(b"demo-1.0/link/evil", b"x")), "lies below the link"
    yield "member-below-later-link", _sdist(tar.header(b"demo-1.0/link/evil", b"x"), link), "lies below the link"
    for label, target in (
        ("out", b"../evil"),
        ("missing", b"demo-1.0/missing"),
        ("absolute", b"/etc/passwd"),
        ("itself", b"demo-1.0/hard"),
    ):
        case = _sdist(tar.header(b"demo-1.0/hard", kind=b"1", target=target))
        yield f"hard-link-{label}", case, "impossible target" if label == "absolute" else "not a file of the archive"
    hard = tar.header(b"demo-1.0/hard", kind=b"1", target=b"demo-1.0/link")
    yield "hard-link-to-symlink", _sdist(link, hard), "not a file of the archive"


def _unusual_tars() -> Iterator[tuple[str, bytes, str]]:
    dotted = (
        tar.header(b"./", kind=b"5"),
        tar.header(b"./demo-1.0/", kind=b"5"),
        tar.header(b"./demo-1.0/PKG-INFO", _PKG_INFO),
        tar.header(b"./demo-1.0/a", kind=b"1", target=b"./demo-1.0/PKG-INFO"),
        tar.header(b"./demo-1.0/b", kind=b"2", target=b"a"),
    )
    yield "dot", tar.gzipped(tar.tar_of(*dotted)), "begin with './'"
    yield "dot-now-and-then", _sdist(tar.header(b"./demo-1.0/a", b"x")), "begin with './'"
    code = tar.header(b"Demo-1.0/demo.py", b"x")
    yield "metadata-in-a-top-directory-of-another-spelling", _sdist(code), "one top directory"
    beside = tar.header(b"PKG-INFO", _PKG_INFO)
    yield "metadata-beside-the-top-directory", tar.gzipped(tar.tar_of(beside, code)), "one top directory"
    yield "metadata-missing", tar.gzipped(tar.tar_of(tar.header(b"demo-1.0/demo.py", b"x"))), "has no file"
    deep = tar.header(b"demo-1.0/demo.egg-info/PKG-INFO", _PKG_INFO)
    yield "metadata-too-deep", tar.gzipped(tar.tar_of(deep)), "has no file"
    up = tar.header(b"Demo-1.0/up", kind=b"2", target=b"../PKG-INFO")
    yield "link-to-metadata-beside-the-top-directory", tar.gzipped(tar.tar_of(beside, up)), "one top directory"


def _bad_tar_members() -> Iterator[tuple[str, bytes, str]]:
    for kind, label in (
        (b"3", "character device"),
        (b"4", "block device"),
        (b"6", "named pipe"),
        (b"7", "contiguous file"),
        (b"S", "sparse file"),
        (b"V", "volume label"),
        (b"M", "another volume"),
        (b"D", "directory listing"),
        (b"Z", "unknown type"),
        (b"\xff", "unknown type"),
    ):
        yield f"type-{kind.hex()}", _sdist(tar.header(b"demo-1.0/a", kind=kind)), label
    sparse = tar.pax((b"GNU.sparse.major", b"1"), (b"GNU.sparse.realsize", b"9"))
    yield "sparse-by-pax", _sdist(sparse, tar.header(b"demo-1.0/a", b"x")), "sparse"
    yield "twice", _sdist(tar.header(b"demo-1.0/a", b"x"), tar.header(b"demo-1.0/a", b"y")), "stands twice"
    yield "metadata-twice", _sdist(tar.header(b"demo-1.0/PKG-INFO", b"Name: evil")), "stands twice"
    link = tar.header(b"demo-1.0/PKG-INFO", kind=b"2", target=b"other")
    yield "metadata-is-a-link", tar.gzipped(tar.tar_of(link, tar.header(b"demo-1.0/other", _PKG_INFO))), "has no file"
    yield "directory-with-data", _sdist(tar.header(b"demo-1.0/sub", b"x", kind=b"5")), "has data"
    yield "link-with-data", _sdist(tar.header(b"demo-1.0/l", b"x", kind=b"2", target=b"PKG-INFO")), "has data"
    yield "file-with-slash", _sdist(tar.header(b"demo-1.0/sub/", b"x")), "ends with a slash"
    both = (tar.header(b"demo-1.0/a", b"x"), tar.header(b"demo-1.0/a/b", b"x"))
    yield "file-and-directory", _sdist(*both), "a file and a directory"
    yield "empty", tar.gzipped(tar.END), "one top directory"


def _bad_tar_headers() -> Iterator[tuple[str, bytes, str]]:
    """Headers that two readers read differently (CVE-2025-8194, CVE-2025-62518)."""
    a = b"demo-1.0/a"
    yield "size-negative", _sdist(tar.header(a, size=tar.base256(-512))), "negative or excessive"
    yield "size-enormous", _sdist(tar.header(a, size=tar.base256(1 << 60))), "cut off"
    yield "size-not-octal", _sdist(tar.header(a, size=b"0000000009z\0")), "malformed size"
    yield "mode-not-octal", _sdist(tar.header(a, mode=b"rw-r--r-")), "malformed mode"
    yield "device-not-octal", _sdist(tar.header(a, device=b"majorminor123456")), "malformed mode, owner or device"
    yield "checksum-wrong", _sdist(tar.header(a, checksum=7)), "wrong checksum"
    hidden = tar.tar_of(tar.header(b"demo-1.0/hidden", b"x"))
    yield (
        "pax-size-hides-members",
        _sdist(tar.pax((b"size", b"%d" % len(hidden))), tar.header(a, hidden, size=0)),
        "two sizes",
    )
    yield "pax-size-smaller", _sdist(tar.pax((b"size", b"1")), tar.header(a, hidden)), "two sizes"
    yield "pax-size-negative", _sdist(tar.pax((b"size", b"-1")), tar.header(a, b"x")), "malformed size"
    yield "pax-size-no-number", _sdist(tar.pax((b"size", b"1e3")), tar.header(a, b"x")), "malformed size"
    yield "pax-path-twice", _sdist(tar.pax((b"path", a), (b"path", b"demo-1.0/b")), tar.header(a, b"x")), "twice"
    yield "pax-path-not-utf-8", _sdist(tar.pax((b"path", b"\xff")), tar.header(a, b"x")), "not UTF-8"
    yield "pax-record-too-long", _sdist(tar.header(b"x", b"99 path=a\n", kind=b"x"), tar.header(a)), "malformed pax"
    yield "pax-record-without-length", _sdist(tar.header(b"x", b"path=a\n", kind=b"x"), tar.header(a)), "malformed pax"
    yield "pax-record-without-end", _sdist(tar.header(b"x", b"9 path=ab", kind=b"x"), tar.header(a)), "malformed pax"
    yield "pax-record-of-zero", _sdist(tar.header(b"x", b"0 path=a\n", kind=b"x"), tar.header(a)), "malformed pax"
    yield "pax-other-charset", _sdist(tar.pax((b"hdrcharset", b"BINARY")), tar.header(a)), "character set"
    yield (
        "pax-header-twice",
        _sdist(tar.pax((b"path", a)), tar.pax((b"path", b"demo-1.0/b")), tar.header(a)),
        "several extended",
    )
    yield (
        "pax-and-gnu-name",
        _sdist(tar.pax((b"path", a)), tar.gnu_long(b"demo-1.0/b"), tar.header(a)),
        "several extended",
    )
    yield "gnu-name-twice", _sdist(tar.gnu_long(a), tar.gnu_long(b"demo-1.0/b"), tar.header(a)), "several extended"
    yield "gnu-name-not-utf-8", _sdist(tar.gnu_long(b"demo-1.0/\xff"), tar.header(a)), "not UTF-8"
    yield (
        "global-header-renames",
        _sdist(tar.pax((b"path", b"demo-1.0/b"), kind=b"g"), tar.header(a)),
        "renames members",
    )
    yield "extended-header-for-nobody", _sdist(tar.pax((b"path", a))), "belongs to no member"
    short = bytearray(tar.gnu_long(b"demo-1.0/" + b"d" * 120))
    short[:512] = tar.header(b"././@LongLink", kind=b"L", magic=b"ustar  \0", size=30)
    yield "gnu-name-longer-than-said", _sdist(bytes(short), tar.header(a)), "goes on behind its end"
    yield "gnu-name-with-null", _sdist(tar.gnu_long(b"demo-1.0/a\0b"), tar.header(a)), "null byte inside"
    long = bytearray(tar.pax((b"comment", b"x"), (b"path", b"demo-1.0/b")))
    long[:512] = tar.header(b"PaxHeader", kind=b"x", size=len(b"13 comment=x\n"))
    yield "pax-header-longer-than-said", _sdist(bytes(long), tar.header(a)), "goes on behind its end"
    yield "global-header-for-nobody", _sdist(tar.pax((b"comment", b"x"), kind=b"g")), "belongs to no member"
    yield "prefix-in-gnu-header", _sdist(tar.header(a, prefix=b"12345", magic=b"ustar  \0")), "unexpected place"
    yield (
        "garbage-behind-end",
        tar.gzipped(tar.tar_of(_METADATA) + tar.header(b"demo-1.0/hidden", b"x") + tar.END),
        "bytes follow the end",
    )
    yield (
        "garbage-behind-one-zero-block",
        tar.gzipped(tar.tar_of(_METADATA, end=bytes(512)) + tar.tar_of(tar.header(a))),
        "bytes follow the end",
    )
    yield "no-end", tar.gzipped(tar.tar_of(_METADATA, end=b"")), "cut off"
    yield "member-cut-off", tar.gzipped(tar.tar_of(_METADATA, tar.header(a, size=10_000), end=b"")), "cut off"


def _bad_streams() -> Iterator[tuple[str, bytes, str]]:
    plain = tar.tar_of(_METADATA)
    good = tar.gzipped(plain)
    wheel = zip_of(_wheel_members())
    yield "not-gzipped", plain, "not a gzipped tar"
    yield "bzip2", bz2.compress(plain), "not a gzipped tar"
    yield "a-wheel", wheel, "not a gzipped tar"
    yield "empty-file", b"", "not a gzipped tar"
    yield "gzip-of-text", tar.gzipped(b"hello\n" * 200), "not a tar archive"
    yield "gzip-of-gzip", tar.gzipped(good), "cut off"
    yield "gzip-cut-in-half", good[: len(good) // 2], "cut off"
    yield "gzip-without-trailer", good[:-8], "cut off"
    yield "gzip-checksum-wrong", good[:-8] + b"\0\0\0\0" + good[-4:], "damaged"
    yield "gzip-length-wrong", good[:-4] + b"\0\0\0\1", "damaged"
    yield "gzip-followed-by-bytes", good + b"tail", "bytes follow"
    yield "gzip-followed-by-zeros", good + bytes(16), "bytes follow"
    yield "gzip-followed-by-gzip", good + tar.gzipped(tar.tar_of(tar.header(b"demo-1.0/evil", b"x"))), "bytes follow"
    yield "gzip-in-two-members", tar.gzipped(plain[:512]) + tar.gzipped(plain[512:]), "bytes follow"
    yield "gzip-with-unknown-flags", good[:3] + b"\xe0" + good[4:], "damaged"
    yield "gzip-with-a-zip-behind", good + wheel, "zip archive too"
    # A zip in a comment of gzip's header or in a stored block is as good a zip as one behind.
    flagged = good[:3] + b"\x10" + good[4:10] + assemble([], comment=b"x" * 40) + b"\0" + good[10:]
    yield "gzip-with-a-zip-in-its-comment", flagged, "zip archive too"
    inside = tar.gzipped(tar.tar_of(_METADATA, tar.header(b"demo-1.0/a.zip", wheel)), level=0)
    yield "gzip-with-a-zip-in-a-stored-block", inside, "zip archive too"


def bomb_cases() -> Iterator[Case]:
    """Small files that would cost much, if one let them."""
    for name, data, because in _zip_bombs():
        yield Case(name=name, kind="bomb", filename=WHEEL, data=data, expected="reject", because=because)
    for name, data, because in _tar_bombs():
        yield Case(name=name, kind="bomb", filename=SDIST, data=data, expected="reject", because=because)
    # Archives inside archives are not opened, so that layers of them are nothing special.
    inner = assemble([Entry(b"zeros", bytes(MIB))])
    for _ in range(3):
        inner = zip_of({f"layer{number}.zip": inner for number in range(10)})
    nested = zip_of(_wheel_members({"demo/__init__.py": b"", "demo/layers.zip": inner}))
    yield Case(name="zip-in-zip-in-zip", kind="bomb", filename=WHEEL, data=nested, expected="accept")


def _zip_bombs() -> Iterator[tuple[str, bytes, str]]:
    zeros = bytes(96 * MIB)
    packed = deflate(zeros, 9)
    honest = Entry(b"demo/zeros.bin", b"", body=packed)
    honest.local = honest.central = {"size": len(zeros), "crc": 0}
    yield "zeros", assemble([honest, *_entries()]), "zip bomb"
    lying = Entry(b"demo/zeros.bin", b"", body=packed)
    lying.local = lying.central = {"size": 1000, "crc": 0}
    yield "zeros-that-claim-to-be-few", assemble([lying, *_entries()]), "larger than its header says"
    huge = Entry(b"demo/zeros.bin", b"", body=packed)
    huge.local = huge.central = {
        "size": FULL_32,
        "packed": FULL_32,
        "crc": 0,
        "extra": zip64_extra(1 << 62, len(packed)),
    }
    yield "claims-four-exabytes", assemble([huge, *_entries()]), "unpacks to"
    # Many directory entries on one member (D. Fifield, "A better zip bomb", 2019).
    kernel = Entry(b"demo/kernel", bytes(MIB))
    copies = [
        Entry(b"demo/%04d" % number, kernel.data, body=kernel.packed(), in_local=False, central={"offset": 0})
        for number in range(60)
    ]
    yield "overlapping-members", assemble([kernel, *copies, *_entries()]), "overlap"
    claim: dict[str, Any] = {"with_end64": True, "with_locator": True, "end": {"here": FULL_16, "count": FULL_16}}
    yield (
        "claims-a-trillion-members",
        assemble(_entries(), **claim, end64={"here": 1 << 40, "count": 1 << 40}),
        "members; the limit",
    )
    claim["end"] = {"size": FULL_32}
    yield "claims-an-endless-directory", assemble(_entries(), **claim, end64={"size": 1 << 40}), "directory has"
    yield "metadata-of-20-mib", zip_of(_wheel_members(info={"METADATA": b"Name: demo\n" * 2_000_000})), "METADATA has"
    members = _wheel_members()
    members[f"{_INFO}/RECORD"] = b"a,,\n" * 2_000_000
    yield "record-of-two-million-lines", zip_of(members), "RECORD has more than"
    yield (
        "entry-points-of-10-mib",
        zip_of(_wheel_members(info={"entry_points.txt": b"[console_scripts]\n" * 600_000})),
        "entry_points.txt has",
    )
    deep = [Entry(b"%05d/" % number + b"a/" * 2040 + b"a", method=STORED) for number in range(500)]
    yield "deep-directories", assemble([*deep, *_entries()]), "RECORD does not list"


def _tar_bombs() -> Iterator[tuple[str, bytes, str]]:
    gib = 1024 * MIB
    zeros = bytes(16 * MIB)
    big = tar.header(b"demo-1.0/zeros", size=tar.base256(10 * gib))
    yield "ten-gib-of-zeros", tar.gzipped_repetition(_METADATA + big, zeros, 640), "bomb"
    yield "zeros-behind-the-end", tar.gzipped_repetition(_METADATA + tar.END, zeros, 640), "bytes follow the end"
    info = tar.header(b"demo-1.0/PKG-INFO", size=gib)
    yield "metadata-of-one-gib", tar.gzipped_repetition(info, zeros, 64), "PKG-INFO has"
    name = tar.header(b"././@LongLink", size=gib, kind=b"L")
    yield "name-of-one-gib", tar.gzipped_repetition(name, b"a" * MIB, 1024), "extended headers are too large"
    attribute = tar.pax((b"comment", b"x" * 900_000), kind=b"g")
    yield (
        "endless-extended-headers",
        tar.gzipped_repetition(_METADATA, attribute, 2000),
        "extended headers are too large",
    )
    member = tar.header(b"demo-1.0/a")
    yield "two-million-members", tar.gzipped_repetition(_METADATA, member * 2048, 1000), "limit"
    links = tar.header(b"demo-1.0/l", kind=b"2", target=b"a")
    yield "two-million-links", tar.gzipped_repetition(_METADATA, links * 2048, 1000), "limit"
