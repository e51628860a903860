"""One page from many layers."""

import itertools
import random

from hypothesis import given
from hypothesis import strategies as st

from pkgindex_core.digests import sha256_of
from pkgindex_core.formats.fragments import page_row
from pkgindex_core.formats.versions import version_key
from pkgindex_core.models import File, Page, PageHead, PageRow, Serial
from pkgindex_core.names import IndexName, ProjectName
from pkgindex_core.protocols.policies import MergedPage
from pkgindex_core.rules.merging import merge

DEMO = ProjectName("demo")
A, B = IndexName("team/a"), IndexName("team/b")


def row(filename: str, version: str, content: str = "") -> PageRow:
    data = (filename + content).encode()
    return page_row(File(filename=filename, version=version, digests={"sha256": sha256_of(data)}, size=len(data)))


def page(index: IndexName, *rows: PageRow, stamp: int = 1, **head: object) -> tuple[IndexName, str, Page]:
    """A layer; its prefix is its name in brackets."""
    stored = Page(index=index, project=DEMO, stamp=Serial(stamp), head=PageHead(**head), rows=rows)  # type: ignore[arg-type]  # keywords of PageHead
    return index, f"[{index}]/", stored


def shown(merged: MergedPage) -> list[tuple[str, str]]:
    return [(entry.origin, entry.row.filename) for entry in merged.entries]


def test_the_first_layer_to_name_a_file_wins() -> None:
    mine, theirs = row("demo-1.0.tar.gz", "1.0", "mine"), row("demo-1.0.tar.gz", "1.0", "theirs")
    merged = merge(DEMO, [page(A, mine, row("demo-2.0.tar.gz", "2.0")), page(B, theirs, row("demo-1.5.tar.gz", "1.5"))])
    assert shown(merged) == [
        ("team/a", "demo-1.0.tar.gz"),
        ("team/b", "demo-1.5.tar.gz"),
        ("team/a", "demo-2.0.tar.gz"),
    ]
    assert merged.entries[0].row == mine
    assert [entry.prefix for entry in merged.entries] == ["[team/a]/", "[team/b]/", "[team/a]/"]


def test_filenames_are_compared_exactly() -> None:
    merged = merge(DEMO, [page(A, row("Demo-1.0.tar.gz", "1.0")), page(B, row("demo-1.0.tar.gz", "1.0"))])
    assert len(merged.entries) == 2


def test_files_of_one_version_from_several_layers_stand_side_by_side() -> None:
    merged = merge(DEMO, [page(A, row("demo-1.0.tar.gz", "1.0")), page(B, row("demo-1.0-py3-none-any.whl", "1.0"))])
    assert shown(merged) == [("team/b", "demo-1.0-py3-none-any.whl"), ("team/a", "demo-1.0.tar.gz")]
    assert merged.versions == ("1.0",)


def test_js_17_entries_stand_in_order_of_version_then_filename() -> None:
    names = ["demo-1.10.tar.gz", "demo-1.9.zip", "demo-1.9.tar.gz", "demo-1.10rc1.tar.gz", "demo-1!0.1.tar.gz"]
    rows = [row(name, name.removeprefix("demo-").removesuffix(".zip").removesuffix(".tar.gz")) for name in names]
    merged = merge(DEMO, [page(A, *rows)])
    assert [name for _, name in shown(merged)] == [
        "demo-1.9.tar.gz",
        "demo-1.9.zip",
        "demo-1.10rc1.tar.gz",
        "demo-1.10.tar.gz",
        "demo-1!0.1.tar.gz",
    ]


def test_js_04_versions_are_a_set_with_those_that_have_no_files() -> None:
    merged = merge(
        DEMO,
        [
            page(A, row("demo-1.0.tar.gz", "1.0"), versions=("3.0", "0.1")),
            page(B, row("demo-1.0.0.tar.gz", "1.0.0"), versions=("3.0.0", "1")),
        ],
    )
    assert merged.versions == merged.head.versions == ("0.1", "1", "3.0")


def test_si_15_equal_versions_are_one_version() -> None:
    merged = merge(DEMO, [page(A, row("demo-v1.0.zip", "v1.0"), row("demo-1.0.0.zip", "1.0.0"))])
    assert merged.versions == ("1.0.0",)
    assert len(merged.entries) == 2


def test_si_16_versions_are_normalised_and_legacy_ones_sort_without_a_crash() -> None:
    merged = merge(
        DEMO, [page(A, row("demo-2004d.zip", "2004d"), row("demo-1.0.RC1.zip", "1.0.RC1"), row("demo.egg", ""))]
    )
    assert merged.versions == ("2004d", "1.0rc1")
    assert len(merged.entries) == 3  # a file whose version cannot be told is listed all the same


def test_the_head_is_of_the_first_layer_that_says_something() -> None:
    merged = merge(
        DEMO,
        [
            page(A, validators={"etag": "x"}),
            page(B, display_name="Demo", status="deprecated", status_reason="use other"),
            page(IndexName("team/c"), display_name="DEMO", status="archived"),
        ],
    )
    assert merged.head == PageHead(display_name="Demo", status="deprecated", status_reason="use other")


def test_a_status_keeps_its_own_reason() -> None:
    merged = merge(DEMO, [page(A, status="archived"), page(B, status="deprecated", status_reason="use other")])
    assert (merged.head.status, merged.head.status_reason) == ("archived", "")


def test_fi_11_a_quarantined_project_offers_nothing() -> None:
    merged = merge(DEMO, [page(A, row("demo-1.0.zip", "1.0"), status="quarantined", status_reason="malware")])
    assert merged.entries == ()
    assert merged.versions == ()
    assert (merged.head.status, merged.head.status_reason) == ("quarantined", "malware")


def test_fi_11_an_upstream_quarantine_empties_the_page_unless_a_layer_before_it_has_a_status() -> None:
    upstream = page(B, row("demo-2.0.zip", "2.0"), status="quarantined")
    assert merge(DEMO, [page(A, row("demo-1.0.zip", "1.0")), upstream]).entries == ()
    merged = merge(DEMO, [page(A, row("demo-1.0.zip", "1.0"), status="active"), upstream])
    assert shown(merged) == [("team/a", "demo-1.0.zip")]
    assert merged.versions == ("1.0",)
    assert merged.head.status == "active"


def test_fi_12_a_status_that_is_no_marker_is_omitted() -> None:
    merged = merge(DEMO, [page(A, status="abandoned", status_reason="why"), page(B, status="archived")])
    assert (merged.head.status, merged.head.status_reason) == ("archived", "")
    assert merge(DEMO, [page(A, status="abandoned", status_reason="why")]).head == PageHead()


def test_the_serial_is_the_newest_stamp() -> None:
    assert merge(DEMO, [page(A, stamp=7), page(B, stamp=9)]).serial == 9


def test_no_layers_make_an_empty_page() -> None:
    merged = merge(DEMO, [])
    assert (merged.entries, merged.versions, merged.serial, merged.head) == ((), (), 0, PageHead())


filenames = st.sampled_from(
    [f"demo-{version}.{kind}" for version in ("1", "1.0", "2a1", "x", "") for kind in ("a", "b")]
)
layers = st.lists(
    st.lists(filenames, unique=True).map(
        lambda names: tuple(row(name, name.removeprefix("demo-").rpartition(".")[0]) for name in names)
    ),
    max_size=4,
).map(lambda pages: [page(IndexName(f"team/{number}"), *rows) for number, rows in enumerate(pages)])


@given(layers=layers)
def test_every_file_is_shown_once_and_from_its_first_layer(layers: list[tuple[IndexName, str, Page]]) -> None:
    expected: dict[str, tuple[str, str, PageRow]] = {}
    for index, prefix, stored in layers:
        for stored_row in stored.rows:
            expected.setdefault(stored_row.filename, (prefix, index, stored_row))
    merged = merge(DEMO, layers)
    assert {entry.row.filename: (entry.prefix, entry.origin, entry.row) for entry in merged.entries} == expected
    assert len(merged.entries) == len(expected)
    keys = [(version_key(entry.row.version), entry.row.filename) for entry in merged.entries]
    assert keys == sorted(keys)
    version_keys = [version_key(version) for version in merged.versions]
    assert all(before < after for before, after in itertools.pairwise(version_keys))
    assert set(version_keys) == {version_key(entry.row.version) for entry in merged.entries if entry.row.version}


@given(layers=layers, seed=st.integers())
def test_the_order_of_stored_rows_does_not_matter(layers: list[tuple[IndexName, str, Page]], seed: int) -> None:
    shuffled = []
    for index, prefix, stored in layers:
        rows = list(stored.rows)
        random.Random(seed).shuffle(rows)
        shuffled.append(
            (index, prefix, Page(index=index, project=DEMO, stamp=stored.stamp, head=stored.head, rows=tuple(rows)))
        )
    assert merge(DEMO, layers) == merge(DEMO, shuffled)
