"""The filters that bandersnatch does not have: names, licences, versions, times, sizes."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from pkgindex_core.clock import Timestamp, from_rfc3339
from pkgindex_core.errors import Refused
from pkgindex_core.models import File
from pkgindex_core.testing.index_cases.values import ManualClock
from pkgindex_mirror.filters.own.own_filters import own_filters
from pkgindex_mirror.syncing.values import Listed, UpstreamProject
from tests.mirror.filters.conftest import kept, of_files


def at(text: str) -> Timestamp:
    found = from_rfc3339(text)
    assert found is not None
    return found


def versions(project: UpstreamProject, **settings: Any) -> list[str]:
    return [name.removeprefix("demo-").removesuffix(".tar.gz") for name in kept(own_filters(settings), project)]


def releases(*numbers: str) -> UpstreamProject:
    return of_files(*(f"demo-{number}.tar.gz" for number in numbers))


def test_no_settings_keep_everything():
    filters = own_filters({})
    assert filters.words == ()
    assert kept(filters, releases("1.0", "2.0rc1")) == ["demo-1.0.tar.gz", "demo-2.0rc1.tar.gz"]


class TestNames:
    @pytest.mark.parametrize(
        ("name", "expected"),
        [
            ("acme-tools", True),
            ("acme", False),
            ("numpy", True),
            ("acme-secret", False),
            ("numpy2", False),
            ("plain", True),
        ],
    )
    def test_patterns(self, name: str, expected: bool):
        filters = own_filters({"names": ["Acme_*", "numpy", "pl[a-c]in"], "except_names": ["acme.secret*"]})
        assert (kept(filters, of_files(f"{name}-1.tar.gz", name=name)) != []) is expected

    def test_only_unwanted_ones(self):
        filters = own_filters({"except_names": ["acme-*"]})
        refusal = filters.name(Listed(of_files(name="acme-x").name, "Acme.X"))
        assert refusal is not None
        assert refusal.reason == "except_names has acme-*"
        assert filters.name(Listed(of_files(name="other").name, "other")) is None

    def test_a_pattern_that_fits_nothing_is_refused(self):
        with pytest.raises(Refused, match="'a/b' fits no project name"):
            own_filters({"names": ["a/b"]})


class TestStandings:
    def test_statuses(self):
        filters = own_filters({"except_statuses": ["quarantined", "archived"]})
        assert kept(filters, of_files("demo-1.tar.gz", status="archived")) == []
        assert kept(filters, of_files("demo-1.tar.gz", status="deprecated")) != []
        assert kept(filters, of_files("demo-1.tar.gz")) != []
        with pytest.raises(Refused, match="no project status 'gone'"):
            own_filters({"except_statuses": ["gone"]})

    def test_kinds(self):
        project = of_files("demo-1.tar.gz", "demo-1-py3-none-any.whl", "demo-1-py3.7.egg", "demo-1.win32.exe", "README")
        assert kept(own_filters({"kinds": ["wheel", "sdist"]}), project) == ["demo-1.tar.gz", "demo-1-py3-none-any.whl"]

    def test_yanked(self):
        files = [File(filename="demo-1.tar.gz", yanked=True), File(filename="demo-2.tar.gz", yanked="broken")]
        project = of_files(*files, "demo-3.tar.gz")
        filters = own_filters({"yanked": "drop"})
        assert kept(filters, project) == ["demo-3.tar.gz"]
        refused = filters.files(project)[1]
        assert [each.reason for each in refused.values()] == ["it is yanked", "it is yanked: broken"]

    def test_prereleases(self):
        project = releases("1.0rc1", "1.0", "1.1.dev1", "2.0a1", "1.0-pre", "2004d")
        assert versions(project, prereleases="drop") == ["1.0", "2004d"]
        assert versions(project, prereleases="newer") == ["1.0", "1.1.dev1", "2.0a1", "2004d"]
        assert versions(releases("1.0a1", "1.0a2"), prereleases="newer") == ["1.0a1", "1.0a2"]
        assert versions(releases("1.0a1", "1.0a2"), prereleases="drop") == []


class TestLatest:
    def test_releases(self):
        assert versions(releases("1.0", "1.10", "1.9", "0.1-bulbasaur"), latest=2) == ["1.10", "1.9"]
        assert versions(releases("1.0", "0.1-bulbasaur"), latest=5) == ["1.0", "0.1-bulbasaur"]

    def test_counts_what_other_filters_leave(self):
        project = releases("1.0", "2.0", "3.0", "4.0rc1", "4.0rc2")
        assert versions(project, latest=2, prereleases="drop") == ["2.0", "3.0"]

    def test_pre_releases_never_use_up_the_number(self):
        assert versions(releases("1.0", "2.0", "3.0rc1", "3.0rc2"), latest=2) == ["2.0", "3.0rc1", "3.0rc2"]

    def test_yanked_releases_do_not_count(self):
        files = [
            File(filename=f"demo-{number}.tar.gz", yanked=number in {"2.0", "4.0"})
            for number in ("1.0", "2.0", "3.0", "4.0")
        ]
        assert versions(of_files(*files), latest=1) == ["3.0", "4.0"]
        assert versions(of_files(*files), latest=2) == ["1.0", "2.0", "3.0", "4.0"]

    def test_files_of_one_version_stay_together(self):
        project = of_files("demo-1.0.tar.gz", "demo-1.0.0-py3-none-any.whl", "demo-0.9.tar.gz")
        assert kept(own_filters({"latest": 1}), project) == ["demo-1.0.tar.gz", "demo-1.0.0-py3-none-any.whl"]

    def test_per_minor(self):
        project = releases("1.0.0", "1.0.1", "1.1.0", "1.1.1", "1.1.2", "2.0")
        assert versions(project, latest_per_minor=1) == ["1.0.1", "1.1.2", "2.0"]
        assert versions(project, latest_per_minor=1, latest=2) == ["1.1.2", "2.0"]

    def test_minors(self):
        project = releases("1.0.0", "1.0.1", "1.1.0", "1.1.1", "2.0", "odd")
        assert versions(project, latest_minors=2) == ["1.1.0", "1.1.1", "2.0"]
        assert versions(project, latest_minors=2, latest_per_minor=1) == ["1.1.1", "2.0"]
        assert versions(project, latest_minors=9) == ["1.0.0", "1.0.1", "1.1.0", "1.1.1", "2.0", "odd"]

    def test_below_zero_is_refused(self):
        with pytest.raises(Refused, match="latest is not from 0 to"):
            own_filters({"latest": -1})


class TestTimes:
    OLD = File(filename="demo-1.tar.gz", upload_time=at("2024-05-01T00:00:00Z"))
    NEW = File(filename="demo-2.tar.gz", upload_time=at("2026-06-10T00:00:00Z"))
    SEEN = File(filename="demo-3.tar.gz", first_seen=at("2026-06-01T00:00:00Z"))
    UNKNOWN = File(filename="demo-4.tar.gz")
    ALL = of_files(OLD, NEW, SEEN, UNKNOWN)

    def test_window(self):
        assert versions(self.ALL, uploaded_after="2025-01-01", unknown_upload_time="drop") == ["2"]
        assert versions(self.ALL, uploaded_before="2025-01-01", unknown_upload_time="drop") == ["1"]
        assert versions(self.ALL, uploaded_after="2024-05-01T00:00:00Z", uploaded_before="2026-06-10T00:00:00Z") == [
            "1",
            "3",
            "4",
        ]

    def test_a_date_of_toml(self):
        import tomllib

        settings = tomllib.loads("uploaded_after = 2025-01-01\nunknown_upload_time = 'drop'")
        assert versions(self.ALL, **settings) == ["2"]

    def test_cooldown(self):
        clock = ManualClock(at("2026-06-15T12:34:56Z"))
        filters = own_filters({"cooldown": "7d"}, clock)
        assert kept(filters, self.ALL) == ["demo-1.tar.gz", "demo-3.tar.gz", "demo-4.tar.gz"]
        clock.advance(2 * 86400)
        assert kept(filters, self.ALL) == ["demo-1.tar.gz", "demo-2.tar.gz", "demo-3.tar.gz", "demo-4.tar.gz"]
        strict = own_filters({"cooldown": "30d", "unknown_upload_time": "drop"}, clock)
        assert kept(strict, self.ALL) == ["demo-1.tar.gz"]
        reasons = [each.reason for each in strict.files(self.ALL)[1].values()]
        assert reasons == [
            "it is too new: it was uploaded on 2026-06-10T00:00:00Z",
            "it is too new: it was first seen on 2026-06-01T00:00:00Z",
            "its age is unknown",
        ]

    def test_what_is_chosen_changes_only_with_the_fingerprint(self):
        clock = ManualClock(at("2026-06-15T12:00:00Z"))
        filters = own_filters({"cooldown": 3600}, clock)
        file = File(filename="demo-1.tar.gz", upload_time=at("2026-06-15T11:59:59Z"))
        chosen: dict[str, set[bool]] = {}
        for _ in range(200):
            chosen.setdefault(filters.fingerprint, set()).add(kept(filters, of_files(file)) != [])
            clock.advance(60)
        assert all(len(each) == 1 for each in chosen.values())
        assert len(chosen) == 4  # hours that begin within 200 minutes from noon
        assert set().union(*chosen.values()) == {True, False}

    def test_never_early(self):
        clock = ManualClock(at("2026-06-15T00:00:00Z"))
        filters = own_filters({"cooldown": "3d"}, clock)
        file = of_files(File(filename="demo-1.tar.gz", upload_time=clock.now()))
        clock.advance(3 * 86400 - 1)
        assert kept(filters, file) == []
        clock.advance(1)
        assert kept(filters, file) != []

    @pytest.mark.parametrize(
        "settings", [{"uploaded_after": "soon"}, {"cooldown": "a while"}, {"max_file_size": "big"}]
    )
    def test_what_cannot_be_read_is_refused(self, settings: dict[str, Any]):
        with pytest.raises(Refused, match=next(iter(settings))):
            own_filters(settings)


class TestSizes:
    FILES = of_files(
        File(filename="demo-1.tar.gz", size=100), File(filename="demo-1-py3-none-any.whl", size=900),
        File(filename="demo-2.tar.gz", size=1000), File(filename="demo-3.tar.gz", size=1001), File(filename="demo-4.tar.gz"),
    )  # fmt: skip

    def names(self, **settings: Any) -> list[str]:
        return kept(own_filters(settings), self.FILES)

    def test_of_a_file(self):
        assert "demo-3.tar.gz" not in self.names(max_file_size="1kB")
        assert len(self.names(max_file_size=1000)) == 4

    def test_of_a_release(self):
        assert self.names(max_release_size=999) == ["demo-4.tar.gz"]
        assert self.names(max_release_size=999, sdists="never") == ["demo-1-py3-none-any.whl"]

    def test_of_a_project_that_the_others_leave(self):
        assert self.names(max_project_size=3000) == []
        assert len(self.names(max_project_size=3001)) == 5
        assert self.names(max_project_size=1001, latest=2) == ["demo-3.tar.gz", "demo-4.tar.gz"]


def licensed(**info: Any) -> UpstreamProject:
    return of_files("demo-1.tar.gz", document=msgspec.json.encode({"info": {"name": "demo", **info}, "releases": {}}))


class TestLicences:
    def keeps(self, project: UpstreamProject, **settings: Any) -> bool:
        filters = own_filters(settings)
        assert filters.needs_document
        return kept(filters, project) != []

    @pytest.mark.parametrize(
        ("expression", "licences", "expected"),
        [
            ("MIT", ["mit"], True),
            ("mit", ["MIT"], True),
            ("GPL-3.0-only", ["MIT", "BSD-*"], False),
            ("BSD-3-Clause", ["MIT", "BSD-*"], True),
            ("MIT OR GPL-3.0-only", ["MIT"], True),
            ("GPL-3.0-only OR MIT", ["MIT"], True),
            ("MIT AND GPL-3.0-only", ["MIT"], False),
            ("MIT AND (Apache-2.0 OR GPL-3.0-only)", ["MIT", "Apache-2.0"], True),
            ("(MIT OR ISC) AND GPL-3.0-only", ["MIT"], False),
            ("GPL-2.0-only WITH Classpath-exception-2.0", ["GPL-2.0-only"], True),
            ("GPL-2.0-only WITH Classpath-exception-2.0", ["* WITH Classpath-*"], True),
        ],
    )
    def test_expressions(self, expression: str, licences: list[str], expected: bool):
        assert self.keeps(licensed(license_expression=expression), licences=licences) is expected

    @pytest.mark.parametrize(
        ("expression", "expected"),
        [("AGPL-3.0-only", False), ("MIT", True), ("AGPL-3.0-only OR MIT", True), ("AGPL-3.0-only AND MIT", False)],
    )
    def test_unwanted_ones(self, expression: str, expected: bool):
        assert self.keeps(licensed(license_expression=expression), except_licences=["AGPL-*", "GPL-*"]) is expected

    def test_classifiers(self):
        mit, gpl = (
            "License :: OSI Approved :: MIT License",
            "License :: OSI Approved :: GNU General Public License v3 (GPLv3)",
        )
        assert self.keeps(licensed(classifiers=["Topic :: X", "License :: OSI Approved", mit]), licences=["MIT"])
        assert not self.keeps(licensed(classifiers=[mit, gpl]), licences=["MIT"])
        assert not self.keeps(licensed(classifiers=["License :: Free For Home Use"]), licences=["MIT"])
        assert self.keeps(licensed(classifiers=["License :: Free For Home Use"]), licences=["free-for-*"])

    def test_a_classifier_with_parentheses_is_one_licence(self):
        jabber = licensed(classifiers=["License :: OSI Approved :: Jabber (Open Source) License (JOSL)"])
        assert self.keeps(jabber, licences=["Jabber-Open-Source-License-JOSL"])
        assert not self.keeps(jabber, licences=["JOSL"])

    def test_texts(self):
        assert self.keeps(licensed(license="MIT License"), licences=["MIT"])
        assert self.keeps(licensed(license="Apache-2.0"), licences=["Apache-*"])
        assert self.keeps(licensed(license="see the file"), licences=["MIT"])
        assert not self.keeps(licensed(license="see the file"), licences=["MIT"], unknown_licence="drop")

    def test_unknown_ones_are_kept_or_dropped(self):
        assert self.keeps(of_files("demo-1.tar.gz"), licences=["MIT"])
        assert not self.keeps(of_files("demo-1.tar.gz"), unknown_licence="drop")

    @pytest.mark.parametrize(
        "text", ["(" * 900 + "MIT" + ")" * 900, "MIT OR", "x" * 5000, "MIT) OR (MIT", 7, None, ["MIT"]]
    )
    def test_what_is_no_expression_is_unknown(self, text: Any):
        assert self.keeps(licensed(license_expression=text), licences=["ISC"])


class TestSettings:
    def test_unknown_keys_name_the_nearest(self):
        with pytest.raises(Refused, match="no filter setting 'latst'") as raised:
            own_filters({"latst": 1})
        assert raised.value.hint == "did you mean 'latest'?"

    @pytest.mark.parametrize(
        "settings", [{"latest": "three"}, {"names": "acme"}, {"yanked": "maybe"}, {"kinds": ["weel"]}]
    )
    def test_wrong_values_are_refused(self, settings: dict[str, Any]):
        with pytest.raises(Refused, match="cannot be read"):
            own_filters(settings)

    def test_all_problems_are_told_at_once(self):
        with pytest.raises(Refused) as raised:
            own_filters({"pythons": ["x"], "cooldown": "y", "max_project_size": "z"})
        assert len(raised.value.problems) == 3

    def test_the_fingerprint_tells_settings_apart(self):
        tables: list[dict[str, Any]] = [
            {}, {"latest": 1}, {"latest": 2}, {"pythons": ["3.12"]}, {"pythons": ["3.12t"]}, {"names": ["a"]}, {"except_names": ["a"]},
            {"yanked": "drop"}, {"max_file_size": 1}, {"max_release_size": 1}, {"uploaded_after": "2024-01-01"}, {"sdists": "never"},
        ]  # fmt: skip
        assert len({own_filters(table).fingerprint for table in tables}) == len(tables)
        assert (
            own_filters({"latest": 1, "yanked": "drop"}).fingerprint
            == own_filters({"yanked": "drop", "latest": 1}).fingerprint
        )
