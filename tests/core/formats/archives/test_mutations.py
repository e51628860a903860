"""Thousands of damaged archives: none crashes the inspection, and whatever it still takes reads alike everywhere.

`PKGINDEX_MUTATIONS=1000000` in the environment runs that many of each kind instead of the usual number.
"""

from __future__ import annotations

import bz2
import gzip
import hashlib
import io
import os
import random
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pkgindex_core.errors import Refused
from pkgindex_core.formats.archives.bounds import Inspection
from pkgindex_core.formats.archives.inspecting import inspect_archive
from pkgindex_core.formats.filenames import UploadName, parse_upload_filename
from pkgindex_core.formats.upload_rules import LENIENT
from pkgindex_core.testing.wheels import build_sdist, build_wheel
from tests.corpora import tar_parts
from tests.corpora.archive_corpus import tar_cases, zip_cases
from tests.corpora.zip_parts import Entry, assemble, entries_of

ROUNDS = int(os.environ.get("PKGINDEX_MUTATIONS", "1500"))
PARTS = 4
"""Each kind runs in this many tests, so that they can run side by side and a failing seed is near."""

FILES = {"demo/__init__.py": b"", "demo/code.py": b"print('demo')\n" * 9, "demo/data.bin": bytes(range(64))}
WHEEL = build_wheel("demo", "1.0", files=FILES)
SDIST = build_sdist("demo", "1.0", files=FILES)
WHEEL_NAME = parse_upload_filename(WHEEL.filename)
SDIST_NAME = parse_upload_filename(SDIST.filename)
NUMBERS = [
    0,
    1,
    2,
    7,
    8,
    9,
    20,
    0x2D,
    0x3F,
    0x7F,
    0x80,
    0xFF,
    0x100,
    0x7FFF,
    0xFFFF,
    0x7FFFFFFF,
    0xFFFFFFFE,
    0xFFFFFFFF,
]
SIGNATURES = [b"PK\x01\x02", b"PK\x03\x04", b"PK\x05\x06", b"PK\x06\x06", b"PK\x06\x07", b"PK\x07\x08"]


def inspected(path: Path, data: bytes, name: UploadName) -> Inspection | None:
    """The only two outcomes there are; anything else fails the test. By the rules that take more."""
    path.write_bytes(data)
    problems: tuple[str, ...] = ()
    try:
        return inspect_archive(path, name, rules=LENIENT)
    except Refused as refused:
        problems = refused.problems
    assert problems
    assert all(problem.isascii() and problem.isprintable() for problem in problems)
    return None


def as_directory_reader(data: bytes) -> set[tuple[str, str]]:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        infos = [info for info in archive.infolist() if not info.is_dir()]
        return {(info.filename, hashlib.sha256(archive.read(info)).hexdigest()) for info in infos}


def as_streaming_reader(data: bytes) -> set[tuple[str, str]]:
    """What one sees who reads from the front and never looks at the directory."""
    seen = set()
    position = 0
    while data[position : position + 4] == b"PK\x03\x04":
        _, _, flags, method, _, _, _, packed, size, name_size, extra_size = struct.unpack_from(
            "<4s5H3I2H", data, position
        )
        assert not flags & 8
        start = position + 30 + name_size + extra_size
        name = data[position + 30 : position + 30 + name_size].decode()
        if 0xFFFFFFFF in {packed, size}:
            extra = data[position + 30 + name_size : start]
            size, packed = struct.unpack("<QQ", extra[extra.index(b"\x01\0\x10\0") + 4 :][:16])
        body = data[start : start + packed]
        plain = body if method == 0 else bz2.decompress(body) if method == 12 else zlib.decompress(body, -15)
        assert len(plain) == size
        if not name.endswith("/"):
            seen.add((name, hashlib.sha256(plain).hexdigest()))
        position = start + packed
    return seen


def mutated(data: bytes, other: bytes, rng: random.Random) -> bytes:
    """One to three of the things that happen to bytes, more often where a zip keeps its numbers."""
    out = bytearray(data)
    places = [place for signature in SIGNATURES for place in _all(bytes(out), signature)] or [0]
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        if not out:
            break
        near = rng.choice(places) + rng.randrange(50)
        place = near if rng.random() < 0.7 and near < len(out) else rng.randrange(len(out))
        match rng.randrange(9):
            case 0:
                out[place] ^= 1 << rng.randrange(8)
            case 1:
                out[place] = rng.randrange(256)
            case 2:
                out[place : place + 2] = struct.pack("<H", rng.choice(NUMBERS) & 0xFFFF)
            case 3:
                out[place : place + 4] = struct.pack("<I", rng.choice(NUMBERS))
            case 4:
                del out[place : place + rng.choice((1, 2, 4, 30, 46, 200))]
            case 5:
                end = place + rng.choice((1, 4, 22, 46, 300))
                out[rng.randrange(len(out)) : 0] = out[place:end]
            case 6:
                out[place:place] = rng.choice((b"\0", b"\0" * 22, rng.choice(SIGNATURES), rng.randbytes(5)))
            case 7:
                start = rng.randrange(len(other))
                out[place : place + 60] = other[start : start + 60]
            case _:
                out[place:] = rng.choice((b"", out[place:] + out[place:], other))
    return bytes(out)


def _all(data: bytes, mark: bytes) -> Iterator[int]:
    place = data.find(mark)
    while place >= 0:
        yield place
        place = data.find(mark, place + 1)


@pytest.mark.parametrize("part", range(PARTS))
def test_mutated_wheels_are_refused_or_read_alike(part: int, tmp_path: Path, tally: Callable[[str, int], None]) -> None:
    cases = [case for case in zip_cases() if "zstd" not in case.name and "lzma" not in case.name]
    bases = [WHEEL.data, *(case.data for case in cases if case.expected_by("lenient") == "accept")]
    # A mutation may put another good archive in place of the first one.
    known = [as_directory_reader(base) for base in bases]
    others = [case.data for case in cases if case.data]
    taken = 0
    for seed in range(part, 2 * ROUNDS, PARTS):
        rng = random.Random(seed)
        base = WHEEL.data if seed % 2 else rng.choice(bases)
        data = mutated(base, rng.choice(others), rng)
        if inspected(tmp_path / "upload", data, WHEEL_NAME) is not None:
            taken += 1
            seen = as_directory_reader(data)
            assert seen == as_streaming_reader(data), seed
            assert seen in known, seed
    tally("mutated wheels", len(range(part, 2 * ROUNDS, PARTS)))
    tally("mutated wheels that were taken and read alike", taken)


@pytest.mark.parametrize("part", range(PARTS))
def test_wheels_mutated_alike_in_both_places_read_alike(
    part: int, tmp_path: Path, tally: Callable[[str, int], None]
) -> None:
    """Changes that header and directory agree on come further, and must be judged by what readers do with them."""
    taken = 0
    for seed in range(part, ROUNDS, PARTS):
        rng = random.Random(seed)
        entries = entries_of(WHEEL.data)
        victim = rng.choice(entries)
        change = _field_change(rng, victim)
        victim.local, victim.central = dict(change), dict(change)
        if rng.random() < 0.3:
            entries.insert(rng.randrange(len(entries)), Entry(b"demo/", method=0))
        order = list(range(len(entries)))
        rng.shuffle(order)
        data = assemble(entries, directory_order=order, with_end64=seed % 2 == 0, with_locator=seed % 2 == 0)
        if inspected(tmp_path / "upload", data, WHEEL_NAME) is not None:
            taken += 1
            assert as_directory_reader(data) == as_streaming_reader(data) == as_directory_reader(WHEEL.data), seed
    tally("mutated wheels", len(range(part, ROUNDS, PARTS)))
    tally("mutated wheels that were taken and read alike", taken)
    assert taken, "all were refused: the mutations are too coarse to show anything"


def _field_change(rng: random.Random, entry: Entry) -> dict[str, object]:
    packed, size = len(entry.packed()), len(entry.data)
    values = [size, packed, 0, size + 1, packed - 1, 0xFFFFFFFF]
    zip64 = [
        struct.pack(f"<HH{n}Q", 1, 8 * n, *(abs(rng.choice(values)) for _ in range(n))) for n in (0, 1, 2, 2, 2, 3)
    ]
    return rng.choice(
        [
            {"flags": 1 << rng.randrange(16)},
            {"method": rng.choice((0, 8, 9, 12, 14, 93))},
            {"crc": rng.choice((0, 1))},
            {"size": rng.choice((size, size + 1, 0, 0xFFFFFFFF))},
            {"packed": rng.choice((packed, packed + 1, max(packed - 1, 0), 0, 0xFFFFFFFF))},
            {"extra": rng.choice(zip64)},
            {
                "extra": rng.choice(zip64),
                "size": rng.choice((size, 0xFFFFFFFF)),
                "packed": rng.choice((packed, 0xFFFFFFFF)),
            },
            {"extra": struct.pack("<HHQQ", 1, 16, size, packed), "size": 0xFFFFFFFF, "packed": 0xFFFFFFFF},
            {"extra": struct.pack("<HH", rng.choice((0x5455, 0x7075, 0x9901)), rng.choice((0, 4))) + b"1234"},
            {"name": rng.choice((b"demo/x.py", b"DEMO/code.py", entry.name + b"\0", b"/" + entry.name, entry.name))},
            {},
        ]
    )


@pytest.mark.parametrize("part", range(PARTS))
def test_mutated_sdists_are_refused_or_read_alike(part: int, tmp_path: Path, tally: Callable[[str, int], None]) -> None:
    """Mutated inside the compression, where gzip's checksum does not help; `tarfile` is the other reader."""
    bases = [gzip.decompress(SDIST.data)]
    bases += [gzip.decompress(case.data) for case in tar_cases() if case.expected == "accept" and len(case.data) < 5000]
    taken = 0
    for seed in range(part, ROUNDS, PARTS):
        rng = random.Random(seed)
        base = rng.choice(bases)
        plain = mutated_tar(base, rng)
        data = tar_parts.gzipped(plain, level=1)
        inspection = inspected(tmp_path / "upload", data, SDIST_NAME)
        if inspection is not None:
            taken += 1
            names, metadata = as_tarfile(plain)
            assert names == inspection.names, seed
            assert metadata == inspection.metadata, seed
    tally("mutated sdists", len(range(part, ROUNDS, PARTS)))
    tally("mutated sdists that were taken and read alike", taken)
    assert taken


def mutated_tar(plain: bytes, rng: random.Random) -> bytes:
    """Change header fields, mostly with the checksum set right again, or whole blocks."""
    out = bytearray(plain)
    headers = [place for place in range(0, len(out) - 511, 512) if any(out[place : place + 100])]
    for _ in range(rng.choice((1, 1, 2))):
        place = rng.choice(headers)
        match rng.randrange(6):
            case 0:
                out[place + rng.randrange(512)] = rng.choice(
                    (0, 0x20, 0x2F, 0x30, 0x37, 0x80, 0xFF, rng.randrange(256))
                )
            case 1:
                out[place + 156] = rng.choice(b"\x0001234567xgLKSDMV")
            case 2:
                size = rng.choice((b"%011o\0" % rng.choice(NUMBERS), tar_parts.base256(rng.choice((-1, 3, 1 << 40)))))
                out[place + 124 : place + 136] = size
            case 3:
                out[place:place] = out[place : place + 512]
            case 4:
                del out[place : place + 512]
            case _:
                out[place + rng.randrange(300)] ^= 1 << rng.randrange(8)
        if rng.random() < 0.9 and len(out) >= place + 512:
            block = out[place : place + 512]
            block[148:156] = b" " * 8
            out[place + 148 : place + 156] = b"%06o\0 " % (sum(block) & 0o777777)
    return bytes(out)


def as_tarfile(plain: bytes) -> tuple[frozenset[str], bytes | None]:
    """The names of all files, and PKG-INFO, which lenient rules do without."""
    with tarfile.open(fileobj=io.BytesIO(plain)) as archive:
        members = [member for member in archive.getmembers() if not member.isdir()]
        names = frozenset(member.name.removeprefix("./") for member in members)
        found = [member for member in members if member.name.count("/") == 1 and member.name.endswith("/PKG-INFO")]
        if not found:
            return names, None
        (info,) = found
        stream = archive.extractfile(info)
        assert stream is not None
        return names, stream.read()


@pytest.mark.parametrize("part", range(PARTS))
def test_mutated_gzip_streams_are_refused(part: int, tmp_path: Path, tally: Callable[[str, int], None]) -> None:
    """Damage to the compressed bytes never goes unnoticed, or changes nothing."""
    for seed in range(part, ROUNDS, PARTS):
        rng = random.Random(seed)
        data = mutated(SDIST.data, WHEEL.data, rng)
        inspection = inspected(tmp_path / "upload", data, SDIST_NAME)
        if inspection is not None:
            assert gzip.decompress(data) == gzip.decompress(SDIST.data), seed
    tally("mutated sdists", len(range(part, ROUNDS, PARTS)))


@given(st.binary(max_size=300), st.sampled_from([b"", b"PK\x03\x04", b"\x1f\x8b\x08", b"PK\x05\x06" + bytes(18)]))
def test_any_bytes_are_refused_cleanly(tmp_path_factory: pytest.TempPathFactory, data: bytes, start: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "any-bytes"
    for name in (WHEEL_NAME, SDIST_NAME):
        assert inspected(path, start + data, name) is None
        assert inspected(path, data + start, name) is None


@given(st.binary(max_size=2000))
def test_any_bytes_in_gzip_are_refused_cleanly(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    assert inspected(tmp_path_factory.getbasetemp() / "any-bytes", tar_parts.gzipped(data, level=1), SDIST_NAME) is None
