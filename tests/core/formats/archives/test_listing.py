"""Listings of archives for people: whole, or as far as they can be read within bounds."""

from __future__ import annotations

import io
import tarfile
import zipfile

import pytest

from pkgindex_core.clock import SystemClock
from pkgindex_core.formats.archives import listing
from pkgindex_core.formats.archives.bounds import ArchiveLimits
from pkgindex_core.formats.archives.listing import ArchiveListing, from_tar, of_tar, of_zip
from pkgindex_core.formats.archives.wheel_layout import info_path
from pkgindex_core.formats.archives.zip_places import Unpacking, read_directory
from pkgindex_core.formats.wheel_tags import wheel_tags
from pkgindex_core.testing.wheels import tar_gz_of
from tests.corpora.zip_parts import Entry, assemble

TREE = {"a-1/PKG-INFO": b"Name: a\n", "a-1/b.py": b"b" * 70_000, "a-1/a.py": b""}
TAR = tar_gz_of(TREE)


def listed(data: bytes, compression: str = "gzip") -> ArchiveListing:
    return of_tar(io.BytesIO(data), len(data), compression, SystemClock())


def tar_of(mode: str) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=f"w:{mode}") as archive:  # type: ignore[call-overload]  # a mode of three
        for name, data in TREE.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
        link = tarfile.TarInfo("a-1/link")
        link.type, link.linkname = tarfile.SYMTYPE, "b.py"
        archive.addfile(link)
    return buffer.getvalue()


@pytest.mark.parametrize(("mode", "compression"), [("gz", "gzip"), ("bz2", "bzip2"), ("xz", "xz")])
def test_a_tar_of_each_compression_is_listed_and_read(mode: str, compression: str) -> None:
    data = tar_of(mode)
    found = listed(data, compression)
    assert [(each.name, each.size, each.target) for each in found.members] == [
        ("a-1/PKG-INFO", 8, ""),
        ("a-1/a.py", 0, ""),
        ("a-1/b.py", 70_000, ""),
        ("a-1/link", 0, "b.py"),
    ]
    assert (found.trouble, found.unpacked_bytes) == ("", 70_008)
    start = from_tar(io.BytesIO(data), len(data), compression, "a-1/b.py", 100, SystemClock())
    assert start is not None
    assert (start.data, start.size) == (b"b" * 100, 70_000)
    assert from_tar(io.BytesIO(data), len(data), compression, "a-1/link", 100, SystemClock()) is None


def test_a_damaged_tar_is_listed_up_to_the_damage() -> None:
    for end in range(len(TAR)):
        found = listed(TAR[:end])
        assert found.trouble
        assert {each.name for each in found.members} <= set(TREE)
    assert not listed(TAR).trouble


def test_bounds_end_a_listing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listing, "LISTING_LIMITS", ArchiveLimits(members=2))
    found = listed(TAR)
    assert (len(found.members), found.trouble) == (2, "the archive has more than the limit of 2 members")
    monkeypatch.setattr(listing, "LISTING_LIMITS", ArchiveLimits(uncompressed_bytes=50_000))
    assert "limit of 50000 bytes" in listed(TAR).trouble
    monkeypatch.setattr(listing, "LISTING_LIMITS", ArchiveLimits(seconds=-1))
    assert "within -1 seconds" in listed(TAR).trouble
    assert from_tar(io.BytesIO(TAR), len(TAR), "gzip", "a-1/a.py", 9, SystemClock()) is None


@pytest.mark.parametrize("method", [0, 8, 12, 14, 93])
def test_members_of_every_compression_are_read(method: int) -> None:
    if method == 93 and not hasattr(zipfile, "ZIP_ZSTANDARD"):
        pytest.skip("this Python writes no zstd")
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        archive.writestr("a", b"abc" * 50_000)
    data = buffer.getvalue()
    place = read_directory(data, len(data)).members["a"]
    unpacking = Unpacking(place)
    out = b"".join(
        piece
        for at in range(place.start, place.stop, 50)
        for piece in unpacking.feed(data[at : min(at + 50, place.stop)])
    )
    unpacking.finish()
    assert out == b"abc" * 50_000


def test_members_that_installers_do_not_unpack_are_counted() -> None:
    data = assemble([Entry(b"good", b"x"), Entry(b"../evil", b"x"), Entry(b"good", b"y"), Entry(b"dir/")])
    found = of_zip(read_directory(data, len(data)))
    assert ([each.name for each in found.members], found.left_out) == (["good"], 2)


def test_an_ambiguous_wheel_has_no_metadata() -> None:
    assert info_path(["a-1.dist-info/METADATA", "x/b-1.dist-info/METADATA"], "METADATA") == "a-1.dist-info/METADATA"
    assert info_path(["a-1.dist-info/METADATA", "b-1.dist-info/METADATA"], "METADATA") == ""


@pytest.mark.parametrize(
    ("tags", "pythons", "platforms"),
    [
        ("py3-none-any", ("Python 3",), ("any system",)),
        ("py2.py3-none-any", ("Python 2", "Python 3"), ("any system",)),
        ("cp39-abi3-win_amd64", ("CPython 3.9 and newer",), ("Windows on x86_64",)),
        ("cp314-cp314t-musllinux_1_2_aarch64", ("CPython 3.14, free-threaded",), ("Linux with musl 1.2 or newer on aarch64",)),
        (
            "cp310-cp310-manylinux2014_x86_64.manylinux_2_17_x86_64",
            ("CPython 3.10",),
            ("Linux with glibc 2.17 or newer on x86_64",),
        ),
        ("cp312.cp313-cp312.cp313-macosx_11_0_universal2", ("CPython 3.12", "CPython 3.13"), ("macOS 11.0 or newer on ARM64 and x86_64",)),
        ("pp310-pypy310_pp73-win32", ("PyPy 3.10",), ("Windows, 32 bits",)),
        ("odd-none-linux_armv6l", ("odd",), ("Linux on armv6l",)),
        ("py3-none-android_24_arm64_v8a", ("Python 3",), ("Android API 24 or newer on arm64_v8a",)),
        ("py3-none-strange", ("Python 3",), ("strange",)),
    ],
)  # fmt: skip
def test_tags_are_said_in_words(tags: str, pythons: tuple[str, ...], platforms: tuple[str, ...]) -> None:
    said = wheel_tags(f"demo-1.0-{tags}.whl")
    assert said is not None
    assert (said.pythons, said.platforms) == (pythons, platforms)
    assert wheel_tags("demo-1.0.tar.gz") is None
