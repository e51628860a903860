"""What is named by something is there before it, in any layout of a tree."""

from __future__ import annotations

from pathlib import Path

import pytest

from pkgindex_mirror.bundles.apply_bundle import BARRIER_LINE, PREFIX, order_of, read_key, read_part
from pkgindex_mirror.bundles.ordering import DOCUMENTS, LISTS, PACKAGES, PAGES, STATE, is_packed, rank_of
from tests.mirror.bundles.far_sides import NearSide
from tests.mirror.snapshots.mirrors import change


@pytest.mark.parametrize(
    ("path", "rank"),
    [
        ("web/packages/ab/cd/ef/demo-1.0.tar.gz", PACKAGES),
        ("web/packages/ab/cd/ef/demo-1.0-py3-none-any.whl.metadata", PACKAGES),
        ("web/packages/ab/cd/ef/index.html", PACKAGES),
        ("files/demo/0123456789abcdef/demo-1.0.tar.gz", PACKAGES),
        ("pool/demo-1.0.tar.gz", PACKAGES),
        ("web/json/demo", DOCUMENTS),
        ("web/pypi/demo/json", DOCUMENTS),
        ("pypi/demo/1.0/json", DOCUMENTS),
        ("web/simple/demo/index.v1_json", PAGES),
        ("web/simple/d/demo/index.html", PAGES),
        ("web/simple/demo/versions/index_5.html", PAGES),
        ("elsewhere/demo/index.html", PAGES),
        ("web/simple/index.html", LISTS),
        ("simple/index.json", LISTS),
        ("index.html", LISTS),
        ("packages.json", LISTS),
        ("changelog/page1.html", LISTS),
        ("status", STATE),
        ("generation", STATE),
        ("web/last-modified", STATE),
    ],
)
def test_each_kind_of_file_has_its_place(path: str, rank: int) -> None:
    assert rank_of(path) == rank


def test_pages_are_compressed_and_packages_are_not() -> None:
    assert is_packed("web/simple/demo/index.html", 10_000)
    assert is_packed("web/packages/ab/cd/ef/demo.whl.metadata", 10_000)
    assert not is_packed("web/packages/ab/cd/ef/demo.whl", 10_000)
    assert not is_packed("web/simple/demo/index.html", 100)
    assert not is_packed("web/simple/demo/index.html", 1 << 30)


def test_groups_of_a_manifest_are_sorted_and_in_order(tmp_path: Path) -> None:
    """Each group is durable before the next one appears: packages, documents, pages, lists, removals, state."""
    near = NearSide(tmp_path)
    near.create()
    change(near.mirror)
    (part,) = near.create()
    found = read_part(part, [read_key(near.public)])
    manifest = part.read_bytes()[PREFIX:][: found.header.manifest_size]
    groups = [group.splitlines() for group in manifest.partition(b"\n")[2].split(BARRIER_LINE) if group]
    words = [(line.split(b" ")[0], line.decode().rpartition(" ")[2]) for group in groups for line in group]
    assert [{(word, rank_of(path))} for word, path in words] == sorted(
        ({(word, rank_of(path))} for word, path in words), key=lambda each: ORDER.index(next(iter(each)))
    )
    for group in groups:
        paths = [order_of(line.decode().rpartition(" ")[2]) for line in group]
        assert paths == sorted(paths)
        assert len({(line[:3], rank_of(line.decode().rpartition(" ")[2])) for line in group}) == 1
    assert len(groups) > 6


ORDER = [
    *((b"put", rank) for rank in (PACKAGES, DOCUMENTS, PAGES, LISTS)),
    *((b"del", rank) for rank in (LISTS, PAGES, DOCUMENTS, PACKAGES)),
    (b"put", STATE),
    (b"del", STATE),
]
