"""Laws of comparing: applying a difference gives the upstream's page, comparing again gives none."""

from __future__ import annotations

from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from pkgindex_core.changes import MirrorPage
from pkgindex_core.clock import Timestamp
from pkgindex_core.digests import Sha256
from pkgindex_core.formats import kept_pages
from pkgindex_core.formats.fragments import page_row
from pkgindex_core.formats.kept_pages import keep
from pkgindex_core.models import File, Page, PageHead, ProjectRow, Serial
from pkgindex_core.names import IndexName, ProjectName
from pkgindex_mirror.documents import file_piles
from pkgindex_mirror.documents.differences import NamesMerge, NamesPart, PageDifference
from pkgindex_mirror.documents.file_piles import FilePile
from pkgindex_mirror.documents.pages import PageListing

INDEX, DEMO = IndexName("root/mirror"), ProjectName("demo")
A, B = "a" * 64, "b" * 64


def listing(*files: File, versions: tuple[str, ...] = (), status: str = "") -> PageListing:
    return PageListing(
        display_name="demo", files=pile(*files), versions=versions, status=status, status_reason="", notes=()
    )


def pile(*files: File) -> FilePile:
    made = FilePile(files)
    assert list(made.settle()) == []
    return made


class Compared(NamedTuple):
    change: MirrorPage | None
    alarms: list[str]


def compare(stored: Page | None, listed: PageListing) -> Compared:
    changes, alarms = parts(stored, listed, 100)
    assert len(changes) <= 1
    assert all(change.part == "whole" for change in changes)
    return Compared(next(iter(changes), None), alarms)


def parts(stored: Page | None, listed: PageListing, size: int) -> tuple[list[MirrorPage], list[str]]:
    difference = PageDifference(stored=stored, listing=listed, part=size)
    changes = difference.changes(INDEX, DEMO, validators={"etag": '"x"'}, fetched=Timestamp(5))
    return list(changes), difference.alarms


def applied(stored: Page | None, change: MirrorPage) -> Page:
    rows = {row.filename: row for row in stored.rows} if stored else {}
    for name in change.drop:
        del rows[name]
    rows |= {file.filename: page_row(file) for file in change.put}
    return Page(index=INDEX, project=DEMO, stamp=Serial(1), head=change.head, rows=tuple(rows.values()))


def stored_page(*files: File) -> Page:
    change = compare(None, listing(*files)).change
    assert change is not None
    return applied(None, change)


files = st.builds(
    File,
    filename=st.sampled_from(["a.zip", "b.zip", "c.zip", "d.zip"]),
    version=st.sampled_from(["1.0", "2.0"]),
    digests=st.sampled_from([{}, {"sha256": A}, {"md5": "0" * 32}]),
    size=st.none() | st.integers(0, 3),
    yanked=st.booleans() | st.just("why"),
    metadata_sha256=st.none() | st.just(Sha256(B)),
    url=st.just("https://example.org/x"),
)
listings = st.builds(
    listing,
    versions=st.lists(st.sampled_from(["1.0", "1", "3.0"]), unique=True).map(tuple),
    status=st.sampled_from(["", "archived"]),
).flatmap(
    lambda base: st.lists(files, unique_by=lambda file: file.filename, max_size=4).map(
        lambda found: replace(base, files=pile(*found))
    )
)


@given(listings, listings)
def test_a_difference_leads_to_the_upstreams_page_and_then_there_is_none(
    first: PageListing, second: PageListing
) -> None:
    page: Page | None = None
    for listed in (first, second):
        change = compare(page, listed).change
        if change is not None:
            page = applied(page, change)
        assert page is not None
        assert {row.filename for row in page.rows} == {file.filename for file in listed.files}
        assert page.head.status == listed.status
        assert compare(page, listed).change is None


@given(first=listings, second=listings, was=st.booleans())
def test_in_one_piece_it_leads_to_the_same_page(first: PageListing, second: PageListing, *, was: bool) -> None:
    """Whether the stored page is in one piece or not (`was`)."""
    rows = keep(DEMO, second.files)
    none = PageDifference(stored=None, listing=second, part=1, rows=rows)
    (change,) = none.changes(INDEX, DEMO, validators={"etag": '"x"'}, fetched=Timestamp(5))
    assert (change.kept, change.put, change.drop, change.part) == (rows.kept, (), (), "whole")

    stored = stored_page(*first.files)
    expected = compare(stored, second)
    piece = keep(DEMO, first.files)
    difference = PageDifference(
        stored=replace(stored, rows=piece) if was else stored, listing=second, part=1, rows=rows
    )
    changes = list(difference.changes(INDEX, DEMO, validators={"etag": '"x"'}, fetched=Timestamp(5)))
    assert difference.alarms == expected.alarms
    if expected.change is None or was or not (expected.change.put or expected.change.drop):
        assert changes == ([expected.change] if expected.change else [])
    else:
        merged = piece.edited(DEMO, expected.change.put, expected.change.drop)
        assert changes == [replace(expected.change, put=(), drop=(), kept=merged.kept)]


def test_a_page_that_would_be_long_in_one_piece_is_not_put_into_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """The store would take it apart with the next difference."""
    first, second = File(filename="demo-1.0.tar.gz", size=1), File(filename="demo-1.0.tar.gz", size=2)
    rows = keep(DEMO, [second])
    monkeypatch.setattr(kept_pages, "MOST_BYTES", rows.json_size - 1)
    listing = PageListing(display_name="demo", files=pile(second), versions=(), status="", status_reason="", notes=())
    difference = PageDifference(stored=stored_page(first), listing=listing, part=1, rows=rows)
    (change,) = difference.changes(INDEX, DEMO, validators={}, fetched=Timestamp(5))
    assert (change.kept, change.put) == (b"", (second,))


@given(listings, listings, st.integers(1, 3))
def test_the_parts_of_a_difference_are_the_difference(first: PageListing, second: PageListing, size: int) -> None:
    page: Page | None = None
    for listed in (first, second):
        whole, alarms = compare(page, listed)
        some, some_alarms = parts(page, listed, size)
        assert some_alarms == alarms
        assert [file for change in some for file in change.put] == list(whole.put if whole else ())
        assert [name for change in some for name in change.drop] == list(whole.drop if whole else ())
        names = [change.part for change in some]
        assert names in ([], ["whole"], ["first", *["middle"] * (len(some) - 2), "last"])
        assert all(len(change.put) + len(change.drop) <= size for change in some)
        page = applied(page, whole) if whole is not None else page


@given(st.lists(files, max_size=30), st.integers(1, 4), st.integers(1, 4))
def test_a_pile_is_the_sorted_dictionary_of_first_files(found: list[File], buffer: int, block: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(file_piles, "_BUFFER", buffer)
        patch.setattr(file_piles, "_BLOCK", block)
        made = FilePile(found)
        twice = set(made.settle())
    expected: dict[str, File] = {}
    for file in found:
        expected.setdefault(file.filename, file)
    assert list(made) == [expected[name] for name in sorted(expected)]
    assert len(made) == len(expected)
    assert twice == {file.filename for file in found if file != expected[file.filename]}


def test_a_first_page_without_files_is_a_change() -> None:
    change = compare(None, listing()).change
    assert change == MirrorPage(
        INDEX, DEMO, PageHead(display_name="demo", validators={"etag": '"x"'}, fetched=Timestamp(5))
    )


def test_what_we_learned_survives() -> None:
    plain = File(filename="a.whl", digests={"md5": "0" * 32}, metadata_offered=True, url="https://example.org/a.whl")
    learned = replace(
        plain,
        digests={"sha256": A, "md5": "0" * 32},
        size=3,
        upload_time=Timestamp(1),
        metadata_sha256=Sha256(B),
        metadata_offered=False,
    )
    assert compare(stored_page(learned), listing(plain)).change is None
    yanked = compare(stored_page(learned), listing(replace(plain, yanked=True))).change
    assert yanked is not None
    assert yanked.put == (replace(learned, yanked=True),)


def test_digests_of_another_algorithm_are_added() -> None:
    known = File(filename="a.zip", digests={"md5": "0" * 32})
    difference = compare(stored_page(known), listing(replace(known, digests={"sha256": A})))
    assert difference.change is not None
    assert list(difference.change.put[0].digests.items()) == [("sha256", A), ("md5", "0" * 32)]
    assert not difference.alarms


def test_a_changed_digest_raises_an_alarm_and_only_marks_are_taken() -> None:
    known = File(filename="a.zip", digests={"sha256": A}, size=1, url="https://example.org/1", requires_python=">=3")
    listed = File(filename="a.zip", digests={"sha256": B}, size=2, url="https://example.org/2", yanked="bad")
    difference = compare(stored_page(known), listing(listed))
    assert difference.change is not None
    assert difference.change.put == (replace(known, yanked="bad"),)
    assert A in difference.alarms[0]
    assert B in difference.alarms[0]
    assert compare(stored_page(replace(known, yanked="bad")), listing(listed)).change is None


names = st.dictionaries(st.text("abc-", min_size=1, max_size=4).map(ProjectName), st.text("AB", max_size=2))


@given(names, names, st.integers(1, 5), st.integers(1, 5))
def test_merging_names_gives_the_upstreams_list(
    stored: dict[ProjectName, str], listed: dict[ProjectName, str], batch: int, part: int
) -> None:
    merge = NamesMerge(sorted(listed.items()), part=part)
    rows = [ProjectRow(name, stored[name], Serial(1)) for name in sorted(stored)]
    parts: list[NamesPart] = []
    for start in range(0, len(rows), batch):
        parts += merge.feed(rows[start : start + batch])
    parts += merge.finish()
    put = dict(pair for each in parts for pair in each.put)
    drop = {name for each in parts for name in each.drop}
    assert {name: display for name, display in stored.items() if name not in drop} | put == listed
    assert all(stored.get(name) != display for name, display in put.items())
    assert all(name in stored and name not in listed for name in drop)
    assert all(1 <= len(each.put) + len(each.drop) <= part for each in parts)
