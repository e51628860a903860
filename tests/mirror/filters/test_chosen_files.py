"""Filters are applied in order, and each file that is left out has one reason."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from pkgindex_core.errors import BadUpstream
from pkgindex_core.models import File
from pkgindex_mirror.filters.chosen_files import Filters
from pkgindex_mirror.filters.explanations import explanation
from pkgindex_mirror.filters.making import filters_of, own_filters
from pkgindex_mirror.filters.quiet_filter import QuietFilter
from pkgindex_mirror.syncing.values import Listed, Refusal, UpstreamProject
from tests.mirror.filters.conftest import kept, of_files

HERE = Path()


class FakeFilter(QuietFilter):
    """Refuses files by the end of their name, and notes what it was asked about."""

    def __init__(self, word: str, ending: str) -> None:
        super().__init__(word, ending)
        self._ending = ending
        self.asked: list[list[str]] = []

    def refuses_files(self, project: UpstreamProject, files: Sequence[File]) -> Mapping[str, Refusal]:
        self.asked.append([file.filename for file in files])
        return {file.filename: self.refusal("so") for file in files if file.filename.endswith(self._ending)}


class TestOrder:
    def test_each_filter_sees_what_the_ones_before_leave(self):
        first, second, last = FakeFilter("first", ".whl"), FakeFilter("second", ".zip"), FakeFilter("last", ".egg")
        filters = Filters([first], [last]).joined(Filters([second]))
        assert filters.words == ("first", "second", "last")
        left, refused = filters.files(of_files("a.whl", "b.zip", "c.egg", "d.tar.gz"))
        assert [file.filename for file in left] == ["d.tar.gz"]
        assert {name: each.filter for name, each in refused.items()} == {
            "a.whl": "first",
            "b.zip": "second",
            "c.egg": "last",
        }
        assert last.asked == [["c.egg", "d.tar.gz"]]

    def test_no_filter_is_asked_about_nothing(self):
        first, second = FakeFilter("first", ".whl"), FakeFilter("second", ".zip")
        assert Filters([first, second]).files(of_files("a.whl"))[0] == []
        assert second.asked == []

    def test_every_file_is_kept_or_refused(self):
        project = of_files("demo-1.tar.gz", "demo-2.tar.gz", "demo-2-py3-none-any.whl", "demo-3rc1.tar.gz")
        filters = own_filters({"prereleases": "drop", "latest": 1})
        left, refused = filters.files(project)
        assert {file.filename for file in left} | set(refused) == {file.filename for file in project.files}
        assert not {file.filename for file in left} & set(refused)

    def test_bandersnatch_and_own_filters_together(self):
        sections = {"blocklist": {"packages": "demo==2"}, "latest_release": {"keep": "3"}}
        filters = filters_of(["blocklist_release", "latest_release"], sections, base=HERE).joined(
            own_filters({"yanked": "drop", "latest": 1})
        )
        project = of_files("demo-1.tar.gz", "demo-2.tar.gz", File(filename="demo-3.tar.gz", yanked=True))
        assert filters.words == ("yanked", "releases", "latest")
        assert kept(filters, project) == ["demo-1.tar.gz"]


class TestFingerprints:
    def test_the_same_settings_have_the_same(self):
        sections = {"latest_release": {"keep": "2"}, "blocklist": {"packages": "a\nb>1", "platforms": "windows"}}
        words = ["latest_release", "blocklist_project", "blocklist_release", "exclude_platform"]
        one = filters_of(words, sections, base=HERE).fingerprint
        assert (
            one == filters_of(words[::-1], {key: dict(value) for key, value in sections.items()}, base=HERE).fingerprint
        )
        # Changes when filters change what they choose: then all mirrors judge all projects once more.
        assert one == "ee88a0b85b84e9a8"

    def test_other_settings_have_another(self):
        tables = [
            {},
            {"latest_release": {"keep": "1"}},
            {"latest_release": {"keep": "1", "sort_by": "time"}},
            {"filter_prerelease": {"packages": "demo"}},
            {"filter_regex": {"releases": ".*rc"}},
            {"filter_regex": {"packages": ".*rc"}},
            {"blocklist": {"platforms": "linux"}},
            {"blocklist": {"packages": "demo"}},
            {"blocklist": {"packages": "demo>1"}},
        ]
        words = [
            "latest_release",
            "prerelease_release",
            "regex_release",
            "regex_project",
            "exclude_platform",
            "blocklist_project",
            "blocklist_release",
        ]
        found = {filters_of(words, table, base=HERE).fingerprint for table in tables}
        assert len(found) == len(tables)

    def test_the_content_of_requirement_files_counts(self, tmp_path: Path):
        def fingerprint(text: str) -> str:
            (tmp_path / "r.txt").write_text(text, encoding="utf-8")
            return filters_of(
                ["project_requirements"], {"allowlist": {"requirements": "r.txt"}}, base=tmp_path
            ).fingerprint

        assert fingerprint("demo\n") == fingerprint("demo  # still\n") != fingerprint("other\n")


class TestExplanations:
    def test_of_files(self):
        project = of_files(
            "demo-2rc1.tar.gz", "demo-10.tar.gz", "demo-9.tar.gz", File(filename="demo-9.zip", yanked="bad\x1b[2J")
        )
        explained = explanation(project, own_filters({"prereleases": "drop", "yanked": "drop"}))
        assert explained.kept == 2
        assert [(each.filename, each.refusal and each.refusal.filter) for each in explained.files] == [
            ("demo-2rc1.tar.gz", "prereleases"),
            ("demo-9.tar.gz", None),
            ("demo-9.zip", "yanked"),
            ("demo-10.tar.gz", None),
        ]
        assert explained.text().splitlines() == [
            "demo: 2 of 4 files are kept",
            "  left out  demo-2rc1.tar.gz  (prereleases: its version is a pre-release)",
            "  kept      demo-9.tar.gz",
            "  left out  demo-9.zip  (yanked: it is yanked: bad\\x1b[2J)",
            "  kept      demo-10.tar.gz",
        ]

    def test_of_a_project_that_is_left_out(self):
        explained = explanation(of_files("demo-1.tar.gz"), own_filters({"except_names": ["de*"]}))
        assert explained.text() == "demo: left out by names: except_names has de*\n"
        assert [each.refusal for each in explained.files] == [explained.refusal]

    def test_of_a_project_that_cannot_be_judged(self):
        filters = filters_of(["regex_project_metadata"], {"regex_project_metadata": {"info.license": "MIT"}}, base=HERE)
        explained = explanation(of_files("demo-1.tar.gz"), filters)
        assert (
            explained.text()
            == "demo: cannot be judged: demo has no JSON document, which the filter regex_project_metadata needs\n"
        )


class TestDocuments:
    @pytest.mark.parametrize(
        "document",
        [
            b"{",
            b"[]",
            b"{}",
            b'{"info": {}}',
            b'{"info": {}, "releases": []}',
            b'{"info": {}, "releases": {"1": [7]}}',
            b"\xff",
            b'{"info": {}, "releases": {}, "more": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        ],
    )
    def test_a_broken_one_fails_the_project(self, document: bytes):
        filters = filters_of(["regex_project_metadata"], {"regex_project_metadata": {"info.license": "MIT"}}, base=HERE)
        with pytest.raises(BadUpstream, match="cannot be read"):
            filters.project(of_files("demo-1.tar.gz", document=document))

    def test_sizes_that_are_no_numbers_count_nothing(self):
        document = b'{"info": {}, "releases": {"1": [{"size": "many"}, {"size": null}, {"size": 7}]}}'
        for limit, files in (("7", 1), ("6", 0)):
            filters = filters_of(
                ["size_project_metadata"], {"size_project_metadata": {"max_package_size": limit}}, base=HERE
            )
            assert len(kept(filters, of_files("demo-1.tar.gz", document=document))) == files

    @pytest.mark.parametrize(
        ("key", "pattern", "expected"),
        [
            ("none:release_file.yanked", "true", ["demo-1.tar.gz"]),
            ("release_file.yanked_reason", "worse", ["demo-1.tar.gz"]),
            ("release_file.size", "1$", ["demo-1.tar.gz", "demo-2.tar.gz"]),
            ("release", "2", ["demo-2.tar.gz"]),
            ("info.name", "demo", ["demo-1.tar.gz", "demo-2.tar.gz"]),
        ],
    )
    def test_a_page_has_a_part_of_it(self, key: str, pattern: str, expected: list[str]):
        sections = {"regex_release_file_metadata": {key: pattern}}
        filters = filters_of(["regex_release_file_metadata"], sections, base=HERE)
        project = of_files("demo-1.tar.gz", File(filename="demo-2.tar.gz", size=1, yanked="bad"))
        assert kept(filters, project) == expected

    def test_is_asked_for_only_when_a_filter_reads_it(self):
        def needs(word: str, key: str, *, strict: bool = False) -> bool:
            return filters_of(
                [word], {word: {key: "3"}, "blocklist": {"platforms": "win"}}, strict=strict, base=HERE
            ).needs_document

        assert needs("regex_project_metadata", "info.license")
        assert needs("regex_release_file_metadata", "release_file.comment_text")
        assert not needs("regex_release_file_metadata", "release_file.packagetype")
        assert not needs("version_range_release_file_metadata", "release_file.requires_python")
        assert not needs("latest_release", "keep")
        assert needs("latest_release", "keep", strict=True)
        assert not needs("exclude_platform", "")


class TestCautions:
    def test_a_filter_without_settings_is_named(self):
        filters = filters_of(["latest_release", "regex_project", "prerelease_release"], {}, base=HERE)
        assert filters.words == ("releases",)
        assert filters.cautions == (
            "the filter regex_project is enabled, and does nothing without the setting filter_regex packages",
            "the filter latest_release is enabled, and does nothing without the setting latest_release keep",
        )

    def test_some_deviations_are_switched_back(self):
        sections = {"filter_prerelease": {"packages": "Demo"}}
        project = of_files("demo-1rc1.tar.gz", name="Demo")
        assert kept(filters_of(["prerelease_release"], sections, base=HERE), project) == []
        assert kept(filters_of(["prerelease_release"], sections, strict={"raw-names"}, base=HERE), project) != []
        assert kept(filters_of(["prerelease_release"], sections, strict={"exit-codes"}, base=HERE), project) == []

    def test_listed_names(self):
        filters = filters_of(["allowlist_project"], {"allowlist": {"packages": "demo"}}, base=HERE)
        refusal = filters.name(Listed(of_files(name="other").name, "Other"))
        assert refusal == Refusal("allowlist_project", "it is not in [allowlist] packages")
