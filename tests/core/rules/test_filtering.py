"""Filters hide files, say why, and know no more than the ETag does."""

import pytest
from msgspec import Struct

from pkgindex_core.clock import Timestamp
from pkgindex_core.formats.fragments import page_row
from pkgindex_core.models import File, PageHead, PageRow, Serial, Tree
from pkgindex_core.names import IndexName, ProjectName
from pkgindex_core.protocols.policies import Build, MergedPage, Mode, PageEntry, PageFilter, Ruling
from pkgindex_core.rules.filtering import Judgement, apply_filters, applying, why_hidden

DEMO = ProjectName("demo")
DEV = IndexName("team/dev")
MOMENT = Timestamp(1_792_584_123_456_789)
BUILD = Build(tree=Tree(serial=Serial(1), indexes={}), start=DEV, project=DEMO, moment=MOMENT)


class HideKind(Struct, frozen=True):
    """Hides files that end in something."""

    ending: str
    applied: bool = True
    mode: Mode = "block"
    fingerprint: str = "kind-1"
    by_release: bool = False

    def cut_off(self, tree: Tree, start: IndexName, moment: Timestamp) -> Timestamp:
        return Timestamp(0)

    def applies(self, tree: Tree, start: IndexName) -> bool:
        return self.applied

    def withheld(self, tree: Tree, start: IndexName, origin: IndexName, project: ProjectName) -> Ruling | None:
        return None

    def judge(self, origin: IndexName, file: File, build: Build) -> Ruling | None:
        return (
            Ruling(reason=f"{self.ending} from {origin}", mode=self.mode)
            if file.filename.endswith(self.ending)
            else None
        )


class TellTime(Struct, frozen=True):
    """Hides everything and says what time it was told."""

    rounding: int
    fingerprint: str = "time-1"
    by_release: bool = False

    def cut_off(self, tree: Tree, start: IndexName, moment: Timestamp) -> Timestamp:
        step = self.rounding * 1_000_000
        return Timestamp(moment - moment % step if step else 0)

    def applies(self, tree: Tree, start: IndexName) -> bool:
        return True

    def withheld(self, tree: Tree, start: IndexName, origin: IndexName, project: ProjectName) -> Ruling | None:
        return None

    def judge(self, origin: IndexName, file: File, build: Build) -> Ruling | None:
        return Ruling(reason=str(build.moment))


def entry(filename: str, version: str) -> PageEntry:
    return PageEntry("../../", DEV, page_row(File(filename=filename, version=version)))


def merged(*entries: PageEntry, versions: tuple[str, ...]) -> MergedPage:
    head = PageHead(display_name="Demo", versions=versions)
    return MergedPage(project=DEMO, head=head, versions=versions, entries=entries, serial=Serial(3))


PAGE = merged(
    entry("demo-1.whl", "1"), entry("demo-1.zip", "1"), entry("demo-2.zip", "2.0"), versions=("0", "1", "2.0")
)


def test_hidden_files_are_gone_from_the_page_and_named_with_the_reason() -> None:
    page, hidden = apply_filters(PAGE, {"no-zip": HideKind("zip")}, BUILD)
    assert [shown.row.filename for shown in page.entries] == ["demo-1.whl"]
    assert hidden == (
        Judgement("demo-1.zip", "1", DEV, "no-zip", Ruling(reason="zip from team/dev")),
        Judgement("demo-2.zip", "2.0", DEV, "no-zip", Ruling(reason="zip from team/dev")),
    )
    assert page.serial == PAGE.serial
    assert page.head.display_name == "Demo"


def test_a_version_whose_files_are_all_hidden_is_not_listed_and_one_without_files_stays() -> None:
    page, _ = apply_filters(PAGE, {"no-zip": HideKind("zip")}, BUILD)
    assert page.versions == page.head.versions == ("0", "1")


def test_versions_are_compared_as_versions() -> None:
    page = merged(entry("demo-1.0.0.zip", "1.0.0"), entry("demo-1.0.whl", "1.0"), versions=("1.0",))
    assert apply_filters(page, {"no-zip": HideKind("zip")}, BUILD)[0].versions == ("1.0",)
    page = merged(entry("demo-1.0.0.zip", "1.0.0"), versions=("1.0",))
    assert apply_filters(page, {"no-zip": HideKind("zip")}, BUILD)[0].versions == ()


def test_a_file_that_several_filters_hide_is_named_by_each() -> None:
    _, hidden = apply_filters(PAGE, {"a": HideKind("2.zip"), "b": HideKind("zip")}, BUILD)
    assert [(one.filename, one.filter) for one in hidden] == [
        ("demo-1.zip", "b"),
        ("demo-2.zip", "a"),
        ("demo-2.zip", "b"),
    ]


def test_where_no_filter_applies_nothing_is_decoded() -> None:
    broken = merged(PageEntry("../../", DEV, PageRow("demo-1.zip", "1", b"", b"not msgpack")), versions=("1",))
    page, hidden = apply_filters(broken, {"off": HideKind("zip", applied=False)}, BUILD)
    assert page is broken
    assert hidden == ()
    assert apply_filters(broken, {}, BUILD) == (broken, ())


def test_a_page_that_loses_nothing_is_the_same_page() -> None:
    page, hidden = apply_filters(PAGE, {"no-exe": HideKind("exe")}, BUILD)
    assert page is PAGE
    assert hidden == ()


def test_applying_keeps_the_order_and_drops_the_idle() -> None:
    filters: dict[str, PageFilter] = {"b": HideKind("b"), "x": HideKind("x", applied=False), "a": HideKind("a")}
    assert list(applying(filters, BUILD.tree, DEV)) == ["b", "a"]


def test_the_time_is_told_as_coarsely_as_was_asked_for() -> None:
    _, hidden = apply_filters(merged(PAGE.entries[0], versions=("1",)), {"s": TellTime(1), "none": TellTime(0)}, BUILD)
    assert [one.ruling.reason for one in hidden] == ["1792584123000000", "0"]


def test_a_single_file_gets_the_same_answer_as_the_page() -> None:
    filters: dict[str, PageFilter] = {"a": HideKind("2.zip"), "b": HideKind("zip"), "time": TellTime(60)}
    _, on_page = apply_filters(PAGE, filters, BUILD)
    one_by_one = [
        hidden
        for filename, version in (("demo-1.whl", "1"), ("demo-1.zip", "1"), ("demo-2.zip", "2.0"))
        for hidden in why_hidden(DEV, File(filename=filename, version=version), filters, BUILD)
    ]
    assert list(on_page) == one_by_one


@pytest.mark.parametrize("mode", ["warn", "observe"])
def test_a_ruling_that_does_not_block_is_told_and_hides_nothing(mode: Mode) -> None:
    page, told = apply_filters(PAGE, {"no-zip": HideKind("zip", mode=mode)}, BUILD)
    assert page is PAGE
    assert [(each.filename, each.ruling.mode, each.hides) for each in told] == [
        ("demo-1.zip", mode, False),
        ("demo-2.zip", mode, False),
    ]
    assert why_hidden(DEV, File(filename="demo-1.zip"), {"no-zip": HideKind("zip", mode=mode)}, BUILD) == ()


class HideMixed(HideKind, frozen=True):
    """Hides releases that have a zip."""

    by_release: bool = True

    def judge(self, origin: IndexName, file: File, build: Build) -> Ruling | None:
        mixed = any(each.filename.endswith(self.ending) for each in build.release(origin, file))
        return Ruling(reason="its release has a zip") if mixed else None


def test_a_filter_of_releases_sees_the_other_files_of_one() -> None:
    page = merged(*PAGE.entries, entry("demo-3.whl", "3"), versions=PAGE.versions)
    shown, _ = apply_filters(page, {"mixed": HideMixed("zip")}, BUILD)
    assert [each.row.filename for each in shown.entries] == ["demo-3.whl"]
