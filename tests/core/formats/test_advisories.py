"""Reads OSV records, and decides which versions they are about."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from packaging.version import Version

from pkgindex_core.errors import Refused
from pkgindex_core.formats.advisories import Affecting, fixed_in, read_advisory
from pkgindex_core.names import ProjectName
from pkgindex_core.protocols.advisories import Advisory

DEMO = ProjectName("demo")


def record(**more: Any) -> bytes:
    entry = {"package": {"ecosystem": "PyPI", "name": "Demo"}, **more.pop("entry", {})}
    return json.dumps({"id": "X-1", "modified": "2026-01-01T00:00:00Z", "affected": [entry], **more}).encode()


def read(**more: Any) -> Advisory:
    found = read_advisory(record(**more))
    assert found is not None
    return found


def affects(advisory: Advisory, project: ProjectName, version: str) -> bool:
    return list(Affecting([advisory], project).about(version)) == [advisory]


def ranges(*events: dict[str, str], kind: str = "ECOSYSTEM") -> dict[str, Any]:
    return {"ranges": [{"type": kind, "events": list(events)}]}


@pytest.mark.parametrize(
    ("entry", "hit", "missed"),
    [
        ({"versions": ["1.0", "1.1"]}, ["1", "1.0.0", "1.1"], ["1.2", "1.0.post1"]),
        (ranges({"introduced": "0"}, {"fixed": "2.0"}), ["0.1", "1.99", "2.0rc1"], ["2", "2.0.0", "3"]),
        (ranges({"introduced": "1.5"}, {"last_affected": "2.0"}), ["1.5", "2.0"], ["1.4", "2.0.1"]),
        (ranges({"introduced": "1"}, {"fixed": "2"}, {"introduced": "3"}), ["1.1", "3", "9"], ["0.9", "2", "2.9"]),
        (ranges({"fixed": "2"}, {"introduced": "0"}), ["1"], ["2"]),
        (ranges({"introduced": "1"}, kind="SEMVER"), ["1", "7"], ["0.9"]),
        ({**ranges({"introduced": "0"}, {"fixed": "1"}), "versions": ["5.0"]}, ["0.1", "5"], ["1", "4"]),
        ({}, ["0", "1.0", "2004d"], []),
        ({**ranges({"introduced": "0"}, kind="GIT"), "versions": ["1.0"]}, ["1.0"], ["1.1"]),
        ({"versions": ["2004d"]}, ["2004d"], ["2005"]),
    ],
)
def test_which_versions_are_affected(entry: dict[str, Any], hit: list[str], missed: list[str]) -> None:
    found = read(entry=entry)
    assert [each for each in (*hit, *missed) if affects(found, DEMO, each)] == hit
    assert not any(affects(found, ProjectName("other"), each) for each in hit)


def test_a_withdrawn_advisory_is_about_nothing() -> None:
    assert not affects(read(withdrawn="2026-02-01T00:00:00Z"), DEMO, "1.0")


def test_the_whole_project_is_affected_if_every_version_is() -> None:
    assert affects(read(entry=ranges({"introduced": "0"})), DEMO, "")
    assert not affects(read(entry=ranges({"introduced": "0"}, {"fixed": "2"})), DEMO, "")
    assert not affects(read(entry={"versions": ["1.0"]}), DEMO, "")


@given(
    st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), min_size=1, max_size=6, unique=True),
    st.tuples(st.integers(0, 9), st.integers(0, 9)),
)
def test_spans_agree_with_packaging(bounds: list[tuple[int, int]], asked: tuple[int, int]) -> None:
    """Bounds in order open and close spans by turns, so a version is inside after an odd number of them."""
    points = sorted(Version(f"{major}.{minor}") for major, minor in bounds)
    events = [{"fixed" if place % 2 else "introduced": str(point)} for place, point in enumerate(points)]
    version = Version("{}.{}".format(*asked))
    inside = sum(point <= version for point in points) % 2 == 1
    assert affects(read(entry=ranges(*reversed(events))), DEMO, str(version)) is inside


def test_listed_versions_that_a_range_covers_are_not_kept_twice() -> None:
    (affected,) = read(entry={**ranges({"introduced": "0"}, {"fixed": "2"}), "versions": ["1.0", "1.1", "3"]}).affected
    assert affected.versions == ("3",)


@pytest.mark.parametrize(
    ("said", "severity"),
    [
        ({"database_specific": {"severity": "MODERATE"}}, "medium"),
        ({"severity": [{"type": "CVSS_V3", "score": "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H"}]}, "critical"),
        ({"severity": [{"type": "CVSS_V4", "score": "CVSS:4.0/AV:N/AC:L/AT:N/PR:N/UI:N/VC:N/VI:N/VA:L/SC:N/SI:N/SA:N"}]}, "medium"),
        ({"severity": [{"type": "CVSS_V3", "score": "CVSS:3.1/AV:N"}]}, "unknown"),
        ({}, "unknown"),
    ],
)  # fmt: skip
def test_severity(said: dict[str, Any], severity: str) -> None:
    assert read(**said).severity == severity


def test_what_it_says_for_people_is_one_printable_line() -> None:
    assert read(summary="bad\x1b[31m thing\nmore").summary == "bad [31m thing"
    assert len(read(details="x" * 1000).summary) == 200


def test_fixed_versions_are_in_order() -> None:
    events = ({"introduced": "0"}, {"fixed": "1.10"}, {"introduced": "2"}, {"fixed": "1.9.1"})
    assert fixed_in(read(entry=ranges(*events)), DEMO) == ("1.9.1",)
    two = {
        "ranges": [
            *ranges({"introduced": "0"}, {"fixed": "1.10"})["ranges"],
            *ranges({"introduced": "0"}, {"fixed": "1.9"})["ranges"],
        ]
    }
    assert fixed_in(read(entry=two), DEMO) == ("1.9", "1.10")


def test_malware_is_known_by_its_name_or_that_of_an_alias() -> None:
    assert read(id="MAL-2026-1").is_malware
    assert read(aliases=["MAL-2026-1"]).is_malware
    assert not read(id="PYSEC-2026-MAL-1").is_malware


def test_other_ecosystems_are_none_of_ours() -> None:
    assert read_advisory(record(entry={"package": {"ecosystem": "npm", "name": "demo"}})) is None
    assert read_advisory(b'{"id": "X-1", "modified": ""}') is None


@pytest.mark.parametrize("wrong", [b"", b"[]", b"{}", b'{"id": 1}', b'{"id": "a/b", "modified": ""}', b"\xff"])
def test_what_is_no_record_is_refused(wrong: bytes) -> None:
    with pytest.raises(Refused):
        read_advisory(wrong)


few = st.sampled_from(["0", "1", "1.0", "1.1", "2.0rc1", "2.0", "3", "odd"])


@given(
    entries=st.lists(st.tuples(st.lists(few, max_size=2), st.lists(st.tuples(few, few), max_size=2)), max_size=4),
    versions=st.lists(few | st.just(""), min_size=1, max_size=8),
)
def test_what_is_known_of_one_version_is_not_taken_for_another(
    entries: list[tuple[list[str], list[tuple[str, str]]]], versions: list[str]
) -> None:
    """`Affecting` remembers the advisories of whole pieces of the order of versions."""
    advisories = [
        read(id=f"X-{at}", entry={"versions": listed, **ranges(*({kind: version} for one in spans for kind, version in zip(("introduced", "fixed"), one, strict=True)))})
        for at, (listed, spans) in enumerate(entries)
    ]  # fmt: skip
    together = Affecting(advisories, DEMO)
    for version in versions:
        assert list(together.about(version)) == [each for each in advisories if affects(each, DEMO, version)]
