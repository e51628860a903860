"""Ranks: the tiers, and typing errors."""

from __future__ import annotations

import string
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pkgindex_core.formats.core_metadata import read_metadata
from pkgindex_core.names import IndexName, ProjectName
from pkgindex_core.protocols.catalogue import SearchEntry
from pkgindex_core.rules.searching.entries import imported, of_metadata, of_release, representing
from pkgindex_core.rules.searching.queries import read_query
from pkgindex_core.rules.searching.ranking import Tier, misspells, rank

_TEXTS = st.text(string.ascii_lowercase[:4], min_size=1, max_size=8)


def distance(one: str, other: str) -> int:
    """The number of typing errors between two texts (optimal string alignment), by the textbook."""
    rows = [[0] * (len(other) + 1) for _ in range(len(one) + 1)]
    for i in range(len(one) + 1):
        for j in range(len(other) + 1):
            if not i or not j:
                rows[i][j] = i + j
                continue
            rows[i][j] = min(rows[i - 1][j] + 1, rows[i][j - 1] + 1, rows[i - 1][j - 1] + (one[i - 1] != other[j - 1]))
            if i > 1 and j > 1 and one[i - 1] == other[j - 2] and one[i - 2] == other[j - 1]:
                rows[i][j] = min(rows[i][j], rows[i - 2][j - 2] + 1)
    return rows[-1][-1]


@given(_TEXTS, _TEXTS)
def test_a_typing_error_is_a_distance_of_one(one: str, other: str) -> None:
    assert misspells(one, other) == (distance(one, other) == 1)


@given(_TEXTS, st.integers(0, 8), st.sampled_from("abcd"), st.sampled_from(["more", "less", "other"]))
def test_every_edit_is_a_typing_error(text: str, at: int, character: str, edit: str) -> None:
    at = min(at, len(text) - 1)
    edited = {
        "more": text[:at] + character + text[at:],
        "less": text[:at] + text[at + 1 :],
        "other": text[:at] + character + text[at + 1 :],
    }[edit]
    assert misspells(text, edited) == (text != edited)


def entry(project: str = "demo", **fields: Any) -> SearchEntry:
    return SearchEntry(
        index=IndexName("ann/dev"), project=ProjectName(project), version="1.0", described=True, **fields
    )


@pytest.mark.parametrize(
    ("query", "tier"),
    [
        ("scikit-learn", Tier.EXACT),
        ("Scikit_Learn", Tier.EXACT),
        ("scikit learn", Tier.EXACT),
        ("sklearn", Tier.IMPORT),
        ("sci", Tier.BEGINNING),
        ("learn", Tier.NAME_WORDS),
        ("learn scikit", Tier.NAME_WORDS),
        ("kit-lea", Tier.WITHIN),
        ("machine", Tier.SAID),
        ("scikit machine", Tier.SAID),
        ("müller", Tier.ELSEWHERE),
        ("scikt-learn", Tier.MISSPELLED),
        ("numpy", None),
        ("machine -learn", None),
        ("-machine", None),
        ("depends:numpy", Tier.SAID),
        ("-depends:numpy", None),
        ("depends:torch", None),
        ("-depends:torch scikit", Tier.BEGINNING),
        ("licence:bsd", Tier.SAID),
        ("licence:osi", Tier.SAID),
        ("python:3.12", Tier.SAID),
        ("python:3.8", None),
        ("import:sklearn", Tier.SAID),
        ("source:mirror", None),
        ("index:ann/dev", Tier.SAID),
        ("-index:ann/dev", None),
    ],
)
def test_tiers(query: str, tier: Tier | None) -> None:
    found = rank(
        read_query(query),
        entry(
            "scikit-learn",
            summary="Machine learning in Python",
            authors="Ann Müller",
            imports=("sklearn",),
            depends=(ProjectName("numpy"),),
            licence="BSD-3-Clause, OSI Approved",
            requires_python=">=3.9",
        ),
    )
    assert (found.tier if found is not None else None) == tier


def test_what_is_not_known_is_no_answer() -> None:
    bare = SearchEntry(index=IndexName("root/pypi"), project=ProjectName("demo"), mirrored=True)
    for query in ("depends:numpy", "-depends:numpy", "python:3.12", "-licence:gpl"):
        assert rank(read_query(query), bare) is None
    assert rank(read_query("-other"), bare) is not None


def test_an_entry_has_what_the_metadata_says() -> None:
    found = of_metadata(
        entry(),
        read_metadata(
            b"Metadata-Version: 2.5\nName: demo\nVersion: 1\nSummary: A demo\nKeywords: one,two\nAuthor-Email: Ann <a@b.org>\n"
            b"License-Expression: MIT\nClassifier: License :: OSI Approved\nRequires-Dist: Foo.Bar[x]>=1; extra == 'y'\n"
            b"Requires-Dist: (odd)\nImport-Name: demo\nImport-Name: demo._own; private\n\ntext"
        ),
    )
    assert (found.summary, found.keywords, found.authors) == ("A demo", "one, two", "Ann <a@b.org>")
    assert (found.licence, found.depends, found.imports) == ("MIT, OSI Approved", ("foo-bar",), ("demo",))
    for damaged in (b"", b"[]", b'{"summary": []}', b"\xff"):
        assert of_release(entry(), damaged) == entry(), "metadata that cannot be read says nothing"


@pytest.mark.parametrize(
    ("paths", "names"),
    [
        (["demo/__init__.py", "demo/inner/__init__.py", "demo-1.dist-info/METADATA"], ("demo",)),
        (["six.py", "_native.cpython-312-x86_64-linux-gnu.so"], ("_native", "six")),
        (["google/cloud/storage/__init__.py", "google/api/x.py"], ("google", "google.cloud.storage")),
        (["demo-1.data/purelib/demo/__init__.py", "demo-1.data/scripts/run.py"], ("demo",)),
        (["not-a-name/x.py", "data/file.txt", "README"], ()),
        ([], ()),
    ],
)
def test_imports_of_a_wheel(paths: list[str], names: tuple[str, ...]) -> None:
    assert imported(paths) == names


def test_the_newest_stable_version_that_is_not_yanked_represents_a_project() -> None:
    assert representing(["1.0", "2.0", "3.0rc1"], lambda version: False) == "2.0"
    assert representing(["1.0", "2.0"], lambda version: version == "2.0") == "1.0"
    assert representing(["1.0", "2.0"], lambda version: True) == "2.0"
    assert representing([], lambda version: False) == ""
