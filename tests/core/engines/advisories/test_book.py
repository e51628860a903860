"""The book of advisories: made from a feed, read in place, replaced while it is read."""

import json
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from pkgindex_core.clock import Timestamp
from pkgindex_core.engines.advisories.book import FeedCheck, FiledBook, book_path, note_check
from pkgindex_core.engines.advisories.packing import Book
from pkgindex_core.engines.advisories.taking_in import make_book, take_in
from pkgindex_core.errors import Corrupt, Refused
from pkgindex_core.names import ProjectName
from pkgindex_core.protocols.advisories import AdvisoryBook
from pkgindex_core.testing.advisory_books import AdvisoryBookContract, osv_record

NOW = Timestamp(1_795_996_800_000_000)


def feed(place: Path, records: Mapping[str, Any]) -> Path:
    with zipfile.ZipFile(place, "w") as archive:
        for name, content in records.items():
            archive.writestr(f"{name}.json", content if isinstance(content, bytes) else json.dumps(content))
    return place


def many(count: int) -> dict[str, Any]:
    return {f"MAL-{each}": osv_record(f"MAL-{each}", f"evil-{each}", "shared") for each in range(count)}


def names(book: FiledBook | Book, project: str) -> list[str]:
    return [each.id for each in book.about(ProjectName(project))]


class TestFiledBook(AdvisoryBookContract):
    async def make(self, place: Path, records: Mapping[str, dict[str, Any]]) -> AdvisoryBook:
        await take_in(feed(place / "all.zip", records), data=_made(place), label="test", now=NOW)
        return FiledBook(place)


@pytest.mark.parametrize("count", [1, 300])
async def test_every_record_is_found_by_project_and_by_name(tmp_path: Path, count: int) -> None:
    """With and without a dictionary."""
    records = many(count) | {"npm": osv_record("N-1")}
    await take_in(feed(tmp_path / "all.zip", records), data=_made(tmp_path), label="test", now=NOW)
    book = FiledBook(tmp_path)
    for each in range(count):
        assert names(book, f"evil-{each}") == [f"MAL-{each}"]
        assert json.loads(book.record(f"MAL-{each}") or b"") == records[f"MAL-{each}"]
    assert sorted(names(book, "shared")) == sorted(each for each in records if each != "npm")
    assert names(book, "unknown") == []
    assert book.record("N-1") is None
    state = book.state()
    assert (state.records, state.feed, state.taken, state.newest) == (count, "test", NOW, "2026-01-01T00:00:00Z")


async def test_what_is_read_while_the_book_is_replaced_is_not_kept_for_the_new_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data, read = _made(tmp_path), Book.about
    await take_in(feed(tmp_path / "old.zip", {"A": osv_record("A-1", "demo")}), data=data, label="test", now=NOW)
    book = FiledBook(tmp_path, elapsed=lambda: 0.0)  # looks by itself only once
    assert names(book, "other") == []
    await take_in(feed(tmp_path / "new.zip", {"M": osv_record("MAL-1", "demo")}), data=data, label="test", now=NOW)

    def about(old: Book, project: ProjectName) -> Any:
        """Another thread looks for a new book meanwhile."""
        monkeypatch.setattr(Book, "about", read)
        found = read(old, project)
        book.look()
        return found

    monkeypatch.setattr(Book, "about", about)
    assert names(book, "demo") == ["A-1"]
    assert names(book, "demo") == ["MAL-1"]


def _made(data: Path) -> Path:
    book_path(data).parent.mkdir(exist_ok=True)
    return data


async def test_a_new_book_is_noticed_within_a_second(tmp_path: Path) -> None:
    seconds = [0.0]
    book = FiledBook(_made(tmp_path), elapsed=lambda: seconds[0])
    assert (book.revision, names(book, "evil-0")) == ("", [])
    await take_in(feed(tmp_path / "all.zip", many(1)), data=tmp_path, label="test", now=NOW)
    seconds[0] = 0.9
    assert names(book, "evil-0") == []
    seconds[0] = 1.0
    assert names(book, "evil-0") == ["MAL-0"]
    first = book.revision
    await take_in(feed(tmp_path / "all.zip", many(2)), data=tmp_path, label="test", now=NOW)
    seconds[0] = 2.0
    assert names(book, "evil-1") == ["MAL-1"]
    assert book.revision != first


def test_equal_feeds_make_equal_revisions(tmp_path: Path) -> None:
    revisions = set()
    for label in "ab":
        make_book(
            feed(tmp_path / f"{label}.zip", many(3)), tmp_path / label, label=label, now=Timestamp(len(revisions))
        )
        revisions.add(Book(tmp_path / label).revision)
    assert len(revisions) == 1


async def test_a_project_has_a_revision_of_its_own(tmp_path: Path) -> None:
    seconds = [0.0]
    book = FiledBook(_made(tmp_path), elapsed=lambda: seconds[0])
    first = {"A": osv_record("A-1", "demo")}
    found = []
    for records in (
        first,
        first | {"B": osv_record("B-1", "other")},
        {"A": osv_record("A-1", "demo", summary="worse")},
    ):
        await take_in(feed(tmp_path / "all.zip", records), data=tmp_path, label="test", now=NOW)
        seconds[0] += 2
        found.append([book.revision_of(ProjectName(name)) for name in ("demo", "other", "unknown")])
    one, two, three = found
    assert one[0] == two[0] != three[0]
    assert one[1] == "" != two[1]
    assert {each[2] for each in found} == {""}


@pytest.mark.parametrize(
    ("content", "why"),
    [
        ({"a": b"{"}, "no OSV record"),
        ({"a": osv_record("X-1", "demo"), "b": osv_record("X-1", "demo")}, "X-1 twice"),
        ({"npm": osv_record("N-1")}, "no advisory about a package of PyPI"),
    ],
)
async def test_a_feed_that_is_wrong_changes_nothing(tmp_path: Path, content: dict[str, Any], why: str) -> None:
    await take_in(feed(tmp_path / "all.zip", many(1)), data=_made(tmp_path), label="test", now=NOW)
    with pytest.raises(Refused, match=why):
        await take_in(feed(tmp_path / "wrong.zip", content), data=tmp_path, label="test", now=NOW)
    assert names(FiledBook(tmp_path), "evil-0") == ["MAL-0"]
    assert sorted(each.name for each in book_path(tmp_path).parent.iterdir()) == ["book"]


async def test_a_feed_that_is_cut_off_is_refused(tmp_path: Path) -> None:
    whole = feed(tmp_path / "all.zip", many(3)).read_bytes()
    (tmp_path / "cut.zip").write_bytes(whole[:-40])
    with pytest.raises(Refused, match="cannot be read"):
        await take_in(tmp_path / "cut.zip", data=_made(tmp_path), label="test", now=NOW)


def test_a_damaged_book_is_told_and_the_one_before_stays(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = book_path(_made(tmp_path))
    make_book(feed(tmp_path / "all.zip", many(3)), path, label="test", now=NOW)
    seconds = [0.0]
    book = FiledBook(tmp_path, elapsed=lambda: seconds[0])
    assert names(book, "evil-0") == ["MAL-0"]
    whole = path.read_bytes()
    for damaged in (b"", whole[:20], whole[:60], whole[:-1], b"x" * len(whole)):
        new = path.with_name("damaged")
        new.write_bytes(damaged)
        with pytest.raises((Corrupt, ValueError)):
            Book(new)
        new.replace(path)
        seconds[0] += 1
        assert names(book, "evil-0") == ["MAL-0"]
    assert len(caplog.records) == 5


def test_the_last_check_of_the_feed_is_told(tmp_path: Path) -> None:
    make_book(feed(tmp_path / "all.zip", many(1)), book_path(_made(tmp_path)), label="test", now=NOW)
    note_check(tmp_path, FeedCheck(feed="test", at=Timestamp(NOW + 5)))
    assert FiledBook(tmp_path).state().checked == NOW + 5
