"""Zips of documentation: what is taken, and pages read out of them without unpacking."""

from __future__ import annotations

import io
import stat
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pkgindex_core.clock import SystemClock
from pkgindex_core.errors import Refused
from pkgindex_core.formats.archives.bounds import ArchiveLimits
from pkgindex_core.formats.archives.documentation import DocumentationFacts, inspect_documentation
from pkgindex_core.formats.archives.zip_contents import DamagedError
from pkgindex_core.formats.archives.zip_places import MemberPlace, TooShortError, Unpacking, read_directory
from pkgindex_core.testing.wheels import build_sdist, zip_of
from tests.corpora.zip_parts import DESCRIPTOR, Entry, assemble

PAGES = {"index.html": b"<h1>demo</h1>", "guide/index.html": b"guide" * 1000, "_static/a.css": b"", "a b.txt": b"x"}


class _Pipe(io.RawIOBase):
    """A file that cannot be rewound, as a zip on its way to somebody: sizes stand behind the data."""

    def __init__(self) -> None:
        self.data = bytearray()

    def writable(self) -> bool:
        return True

    def write(self, data: bytes) -> int:  # type: ignore[override]  # bytes are all that zipfile writes
        self.data += data
        return len(data)


def streamed_zip(members: dict[str, bytes]) -> bytes:
    pipe = _Pipe()
    with zipfile.ZipFile(pipe, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return bytes(pipe.data)


def inspect(data: bytes, tmp_path: Path, limits: ArchiveLimits | None = None) -> DocumentationFacts:
    path = tmp_path / "docs.zip"
    path.write_bytes(data)
    return inspect_documentation(path, limits, clock=SystemClock()) if limits else inspect_documentation(path)


def page(data: bytes, name: str, *, step: int = 7, tail: int | None = None) -> bytes:
    """One page, read as a server does: the directory from the end, the page from its span, in small steps."""
    place = read_directory(data[-tail:] if tail else data, len(data)).members[name]
    return unpacked(place, data[place.start : place.stop], step)


def unpacked(place: MemberPlace, span: bytes, step: int = 7) -> bytes:
    unpacking = Unpacking(place)
    out = b"".join(piece for start in range(0, len(span), step) for piece in unpacking.feed(span[start : start + step]))
    unpacking.finish()
    return out


@pytest.mark.parametrize("data", [zip_of(PAGES), zip_of(PAGES, stored=True), streamed_zip(PAGES)])
def test_every_page_comes_out_as_it_went_in(data: bytes, tmp_path: Path) -> None:
    """Deflated, stored, and with sizes behind the data, as a Mac's Finder writes it."""
    facts = inspect(data, tmp_path)
    assert (facts.pages, facts.warnings) == (4, ())
    assert facts.uncompressed_bytes == sum(map(len, PAGES.values()))
    assert set(read_directory(data, len(data)).members) == set(PAGES)
    for name, content in PAGES.items():
        assert page(data, name) == content
        assert page(data, name, step=len(data)) == content


def test_the_directory_is_read_from_the_end_alone() -> None:
    """Too few of the last bytes: the exception says from where on they are wanted."""
    data = zip_of(
        {"index.html": b"x", "big": bytes(range(256)) * 1000, **{f"{number}.txt": b"" for number in range(2000)}},
        stored=True,
    )
    with pytest.raises(TooShortError) as short:
        read_directory(data[-70_000:], len(data))
    start = short.value.start
    assert start < len(data) - 70_000
    assert page(data, "big", step=1000, tail=len(data) - start) == bytes(range(256)) * 1000


def _link() -> bytes:
    return assemble(
        [Entry(b"index.html", b"x"), Entry(b"a", b"/etc/passwd", central={"attributes": (stat.S_IFLNK | 0o777) << 16})]
    )


def _descriptor_that_lies() -> bytes:
    return assemble(
        [
            Entry(
                b"index.html",
                b"x",
                local={"flags": DESCRIPTOR},
                central={"flags": DESCRIPTOR},
                after=b"PK\x07\x08" + bytes(12),
            )
        ]
    )


def _bad() -> Iterator[tuple[str, bytes, str]]:
    good = zip_of(PAGES)
    for name in ("../a", "a/../../b", "/a", "C:/a", "a\\b", "a//b", "./a", "a\n", "\N{LINE SEPARATOR}"):
        yield f"name {name!a}", zip_of({"index.html": b"", name: b""}), "name"
    yield "twice", assemble([Entry(b"index.html", b"1"), Entry(b"index.html", b"2")]), "twice"
    yield "link", _link(), "symbolic link"
    yield "device", assemble([Entry(b"a", central={"attributes": (stat.S_IFCHR | 0o777) << 16})]), "neither a file"
    yield "encrypted", assemble([Entry(b"a", b"x", local={"flags": 1}, central={"flags": 1})]), "encrypted"
    yield "wrong checksum", assemble([Entry(b"a", b"x", local={"crc": 7}, central={"crc": 7})]), "checksum"
    yield "wrong size", assemble([Entry(b"a", b"x", local={"size": 7}, central={"size": 7})]), "smaller"
    yield "lying descriptor", _descriptor_that_lies(), "differs from the directory"
    yield "file and directory", assemble([Entry(b"a", b"x"), Entry(b"a/b", b"y")]), "file and a directory"
    yield "another method", assemble([Entry(b"a", b"x", method=12, body=b"x")]), "method 12"
    yield "cut off", good[:-5], "cut off"
    yield "bytes before", b"#!/bin/sh\n" + good, "before or between"
    yield "nothing in it", zip_of({}), "no files"
    yield "no zip", b"hello", "not a zip"
    yield "empty", b"", "not a zip"
    yield "tar.gz", build_sdist("demo", "1.0").data, "not a zip"
    yield "bomb", zip_of({"index.html": bytes(70 * 1024 * 1024)}), "bomb"


@pytest.mark.parametrize(("why", "data", "said"), [pytest.param(*case, id=case[0]) for case in _bad()])
def test_what_is_wrong_is_refused_and_said(why: str, data: bytes, said: str, tmp_path: Path) -> None:
    with pytest.raises(Refused, match=said) as refused:
        inspect(data, tmp_path)
    assert refused.value.hint, why


def test_there_are_bounds(tmp_path: Path) -> None:
    many = zip_of({f"{number}": b"" for number in range(30)})
    with pytest.raises(Refused, match="30 members"):
        inspect(many, tmp_path, ArchiveLimits(members=29))
    with pytest.raises(Refused, match="unpacks to"):
        inspect(zip_of({"a": b"x" * 100}), tmp_path, ArchiveLimits(uncompressed_bytes=99))
    with pytest.raises(Refused, match="directory has"):
        read_directory(many, len(many), ArchiveLimits(directory_bytes=100))


def test_docs_without_a_front_page_are_taken_with_a_warning(tmp_path: Path) -> None:
    assert "index.html" in inspect(zip_of({"html/index.html": b""}), tmp_path).warnings[0]


def test_members_that_could_not_be_uploaded_are_not_found() -> None:
    """A zip from elsewhere was perhaps never checked: what is harmless in it is served."""
    data = assemble(
        [
            Entry(b"index.html", b"good"),
            Entry(b"../evil", b"x"),
            Entry(b"/evil", b"x"),
            Entry(b"secret", b"x", local={"flags": 1}, central={"flags": 1}),
            Entry(b"index.html", b"second"),
            Entry(b"encrypted", b"x", method=99, body=b"x"),
            Entry(b"dir/"),
        ]
    )
    assert set(read_directory(data, len(data)).members) == {"index.html"}
    assert page(data, "index.html") == b"good"


def test_a_damaged_page_is_never_whole() -> None:
    """Whatever byte of a page's span is changed: its own bytes come out, or an error before the end is told."""
    data = zip_of({"index.html": b"hello documentation" * 3})
    place = read_directory(data, len(data)).members["index.html"]
    span = data[place.start : place.stop]
    for position in range(len(span)):
        damaged = bytearray(span)
        damaged[position] ^= 0x41
        try:
            assert unpacked(place, bytes(damaged)) == b"hello documentation" * 3
        except DamagedError:
            continue
    for length in range(len(span)):
        with pytest.raises(DamagedError):
            unpacked(place, span[:length])


def test_a_bomb_of_one_page_comes_in_small_pieces_and_stops_where_its_header_ends() -> None:
    big = assemble([Entry(b"a", bytes(64 * 1024 * 1024), local={"size": 3_000_000}, central={"size": 3_000_000})])
    place = read_directory(big, len(big)).members["a"]
    unpacking = Unpacking(place)
    pieces = []
    with pytest.raises(DamagedError, match="larger"):
        pieces.extend(len(piece) for piece in unpacking.feed(big[place.start : place.stop]))
    assert sum(pieces) <= 3_000_000
    assert max(pieces, default=0) <= 1024 * 1024


@given(
    st.dictionaries(st.from_regex(r"[a-z]{1,8}(\.html)?", fullmatch=True), st.binary(max_size=3000), min_size=1),
    st.integers(1, 500),
)
def test_any_zip_that_python_writes_is_read_alike(members: dict[str, bytes], step: int) -> None:
    data = streamed_zip(members)
    for name, content in members.items():
        assert page(data, name, step=step) == content
