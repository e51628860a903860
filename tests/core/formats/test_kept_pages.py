"""A page in one piece says the same as its files one by one."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pkgindex_core.changes import MirrorPage, decode_changes, encode_changes
from pkgindex_core.clock import Timestamp
from pkgindex_core.digests import sha256_of
from pkgindex_core.errors import Corrupt
from pkgindex_core.formats.filenames import candidate_projects
from pkgindex_core.formats.fragments import page_row
from pkgindex_core.formats.kept_pages import KeptRows, keep, page_content
from pkgindex_core.models import Event, File, PageHead
from pkgindex_core.names import IndexName, ProjectName

DEMO = ProjectName("demo")
_SHA256 = st.integers(0, 5).map(lambda number: sha256_of(bytes([number])))
_TEXTS = st.sampled_from(["", ">=3.8", '{"url":"', '"filename":"demo-1.0.tar.gz",', "ü\n", '},{"url":"+f', "😀"])
FILES = st.builds(
    File,
    filename=st.sampled_from(
        [
            "demo-1.0.tar.gz",
            "demo-1.0-py3-none-any.whl",
            "demo-1.0.0.zip",
            "demo-10.tar.gz",
            "DEMO-9.tar.gz",
            "demo-1.0+a!b.tar.gz",
            "a b,ü.exe",
            '{"url":"',
            '","filename":"demo-10.tar.gz",',
            "demo-2004d.tar.gz",
            "\\",
        ]
    ),
    version=st.sampled_from(["", "1.0", "1.0.0", "10", "2004d", "9"]),
    digests=st.sampled_from([{}, {"md5": "0" * 32}, {"blake2b": "1" * 128}])
    | st.builds(lambda sha256: {"sha256": sha256}, _SHA256)
    | st.builds(lambda sha256: {"sha256": sha256, "md5": "0" * 32}, _SHA256),
    size=st.sampled_from([None, 0, 2**62]),
    stated_size=st.sampled_from([None, 1, 2**62]),
    upload_time=st.none() | st.integers(0, 4_000_000_000_000_000).map(Timestamp) | st.just(Timestamp(10**15)),
    requires_python=_TEXTS,
    yanked=st.booleans() | _TEXTS.filter(bool),
    metadata_sha256=st.none() | _SHA256,
    metadata_offered=st.booleans(),
    metadata_refuted=st.none() | _SHA256,
    metadata_from_ranges=st.booleans(),
    provenance=st.sampled_from(["", "https://example.org/provenance"]),
    gpg_sig=st.sampled_from([None, False, True]),
    url=st.sampled_from(["https://files.example.org/demo", "https://ü.example.org/a b"]),
    history=st.sampled_from([(), (Event(what="upload", at=Timestamp(1)),)]),
)
PAGES = st.lists(FILES, unique_by=lambda file: file.filename, max_size=8)


@given(PAGES)
def test_every_file_comes_back_by_name_and_in_rows_by_filename(files: list[File]) -> None:
    rows = keep(DEMO, files)
    again = KeptRows(rows.kept)
    assert len(again) == len(files)
    assert list(again) == sorted(map(page_row, files), key=lambda row: row.filename)
    for file in files:
        assert again.find(file.filename) == file
        assert page_row(file) in again
    assert again.find("demo") is None
    assert again.find("filename") is None
    assert set(again.strays) == {file.filename for file in files if DEMO not in candidate_projects(file.filename)}
    named = {digest for file in files for digest in (file.sha256, file.metadata_sha256) if digest}
    assert set(again.blobs()) == named


@given(PAGES, PAGES)
def test_what_a_page_says_has_a_name_of_its_own(one: list[File], other: list[File]) -> None:
    same = sorted(one, key=lambda file: file.filename) == sorted(other, key=lambda file: file.filename)
    names = [page_content(PageHead(), keep(DEMO, files)) for files in (one, other)]
    assert (names[0] == names[1]) is same
    one_digest, other_digest = keep(DEMO, one).digest, KeptRows(keep(DEMO, other).kept).digest
    assert (one_digest == other_digest) is same


def test_the_head_has_its_say_except_in_what_is_never_shown() -> None:
    rows = keep(DEMO, [])
    name = page_content(PageHead(display_name="Demo"), rows)
    assert page_content(PageHead(display_name="Demo", fetched=Timestamp(1), validators={"etag": "1"}), rows) == name
    assert page_content(PageHead(display_name="Demo", status="archived"), rows) != name
    assert page_content(PageHead(display_name="Demo"), keep(DEMO, [File(filename="a")])) != name


@given(PAGES, PAGES, st.lists(st.sampled_from(["demo-1.0.tar.gz", "a b,ü.exe", "never"])))
def test_a_difference_makes_the_page_that_its_files_make(files: list[File], put: list[File], drop: list[str]) -> None:
    expected = {file.filename: file for file in files if file.filename not in drop} | {
        file.filename: file for file in put
    }
    assert keep(DEMO, files).edited(DEMO, put, drop).kept == keep(DEMO, expected.values()).kept


def test_the_last_of_two_files_of_one_name_counts() -> None:
    rows = keep(DEMO, [File(filename="a", size=1), File(filename="a", size=2)])
    assert list(rows) == [page_row(File(filename="a", size=2))]


@pytest.mark.parametrize("data", [b"", b"x", b"\x94\x02\x00\x90\xc4\x00", b"\x94\x01\x00\x90\xc4\x00"])
def test_what_is_no_kept_page_is_told(data: bytes) -> None:
    with pytest.raises(Corrupt):
        list(KeptRows(data))


def test_a_log_from_before_pages_were_kept_still_reads() -> None:
    """What an earlier program wrote has no `kept`."""
    written = b"\x91\x84\xa4type\xaaMirrorPage\xa5index\xa3a/b\xa7project\xa1p\xa4head\x80"
    assert decode_changes(written) == (MirrorPage(IndexName("a/b"), ProjectName("p"), PageHead()),)
    change = MirrorPage(IndexName("a/b"), ProjectName("p"), PageHead(), kept=keep(DEMO, []).kept)
    assert decode_changes(encode_changes((change,))) == (change,)
