"""Laws of the packing of mirrored files."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from hypothesis import given
from hypothesis import strategies as st

from pkgindex_core.digests import sha256_of
from pkgindex_core.engines import packing
from pkgindex_core.engines.sqlite import segments
from pkgindex_core.formats.fragments import page_row
from pkgindex_core.models import File, PageRow

names = st.text(st.characters(codec="utf-8"), max_size=5)
rows = st.builds(PageRow, names, st.just("1"), st.binary(max_size=5), st.binary(max_size=5))


def named(count: int) -> list[PageRow]:
    return [PageRow(f"{number:05}", "1", b"", b"") for number in range(count)]


@given(st.lists(rows))
def test_packing_is_reversible(some: list[PageRow]) -> None:
    assert segments.unpack(segments.pack(some)) == some


def test_threads_may_compress_at_once() -> None:
    texts = [b"%d" % number * (number * 97 % 5000) for number in range(400)]
    with ThreadPoolExecutor(4) as threads:
        assert [packing.decompress(packed) for packed in threads.map(packing.compress, texts)] == texts


@given(st.lists(rows), st.lists(rows), st.lists(names))
def test_editing_is_a_dictionary_update_in_order(old: list[PageRow], put: list[PageRow], drop: list[str]) -> None:
    before = segments.edited([], old, ())
    after = segments.edited(before, put, drop)
    expected = {row.filename: row for row in old}
    expected = {name: row for name, row in expected.items() if name not in drop} | {row.filename: row for row in put}
    assert {row.filename: row for row in after} == expected
    assert [row.filename for row in after] == sorted(expected)
    for name in [*expected, *drop]:
        assert segments.row_named(after, name) == expected.get(name)


@given(st.integers(0, 2000))
def test_a_split_loses_nothing_and_every_name_finds_its_part(count: int) -> None:
    every = named(count)
    parts = list(segments.split("", every))
    assert [row for _, part in parts for row in part] == every
    assert all(len(part) <= segments.ROWS_AT_MOST for _, part in parts)
    lows = [low for low, _ in parts]
    assert lows[0] == ""
    assert lows == sorted(set(lows))
    for number in range(0, count, 97):
        assert segments.row_named(parts[segments.segment_of(lows, f"{number:05}")][1], f"{number:05}") == every[number]
    assert segments.segment_of(lows, "") == 0


def test_blobs_are_read_without_decoding_files() -> None:
    content, sidecar = sha256_of(b"content"), sha256_of(b"sidecar")
    known = File(filename="a", digests={"sha256": content, "md5": "0" * 32}, metadata_sha256=sidecar, yanked="why")
    unknown = File(filename="b", digests={"md5": "0" * 32}, url="https://files.example.org/b")
    assert segments.blobs([page_row(known), page_row(unknown)]) == [content, sidecar]
