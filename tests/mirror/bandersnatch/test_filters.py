"""What is said about filters and their sections: nothing is mirrored by mistake."""

from __future__ import annotations

from pathlib import Path

import pytest
from msgspec.structs import fields

from pkgindex_mirror.bandersnatch.enabling import InstalledPlugins
from pkgindex_mirror.bandersnatch.plugins import ANY_KEY, FILTERS, OWN_KEYS, OWN_SECTION, SECTIONS
from tests.mirror.bandersnatch.files import examined, filtered, mirror, sound, told

ALLOWLIST = "[allowlist]\npackages =\n    demo\n"


class TestEnabled:
    def test_no_section_enables_nothing(self, tmp_path: Path) -> None:
        assert sound(mirror(tmp_path)).plugins == ()

    def test_the_order_is_that_of_the_file_and_each_counts_once(self, tmp_path: Path) -> None:
        found = filtered(tmp_path, "prerelease_release", "allowlist_project", "prerelease_release", rest=ALLOWLIST)
        assert sound(found).plugins == ("prerelease_release", "allowlist_project")

    @pytest.mark.parametrize(
        "enabled",
        [
            "allowlist_project, prerelease_release",
            "allowlist_project prerelease_release",
            "\n    allowlist_project, prerelease_release",
        ],
    )
    def test_a_list_on_one_line_is_read_and_called_out(self, tmp_path: Path, enabled: str) -> None:
        found = mirror(tmp_path, rest=f"[plugins]\nenabled = {enabled}\n{ALLOWLIST}")
        assert found.configuration.plugins == ("allowlist_project", "prerelease_release")
        (warning,) = told(found, "warning")
        assert warning.startswith("line 4, [plugins] enabled: 'allowlist_project")
        assert "mirrors everything" in warning

    def test_as_bandersnatch_it_enables_nothing(self, tmp_path: Path) -> None:
        found = mirror(
            tmp_path,
            "compat = one-line-lists unknown-plugins",
            rest=f"[plugins]\nenabled = allowlist_project, prerelease_release\n{ALLOWLIST}",
        )
        assert found.configuration.plugins == ()
        assert not found.errors

    def test_an_unknown_name_stops(self, tmp_path: Path) -> None:
        found = filtered(tmp_path, "allowlist_projects", rest=ALLOWLIST)
        assert told(found, "error") == [
            "line 4, [plugins] enabled: there is no filter 'allowlist_projects'; without it more would be mirrored than is meant"
        ]
        assert found.errors[0].advice.startswith("did you mean 'allowlist_project'?")

    def test_as_bandersnatch_it_is_ignored(self, tmp_path: Path) -> None:
        found = filtered(tmp_path, "allowlist_projects", compat="unknown-plugins")
        assert not found.errors
        assert found.configuration.plugins == ()
        assert len(told(found, "warning")) == 1

    def test_an_installed_plugin_of_others_is_known(self, tmp_path: Path) -> None:
        installed = InstalledPlugins({"safety_db_release": "bandersnatch-safety-db"}, loadable=True)
        found = filtered(tmp_path, "safety_db_release", rest="[safety_db]\nkey = x\n", installed=installed)
        assert found.configuration.plugins == ("safety_db_release",)
        assert told(found, "note") == ["line 6, [safety_db]: no filter that is known here reads this section"]
        assert not told(found, "warning")

    def test_it_cannot_be_loaded_without_bandersnatch(self, tmp_path: Path) -> None:
        installed = InstalledPlugins({"safety_db_release": "bandersnatch-safety-db"})
        found = filtered(tmp_path, "safety_db_release", installed=installed)
        (error,) = told(found, "error")
        assert "a plugin of bandersnatch-safety-db for bandersnatch, which is not installed here" in error

    def test_an_empty_list_is_called_out(self, tmp_path: Path) -> None:
        assert told(filtered(tmp_path), "warning") == ["line 4, [plugins] enabled: no filter is enabled"]

    def test_another_key_is_called_out(self, tmp_path: Path) -> None:
        found = mirror(tmp_path, rest="[plugins]\nenable =\n    allowlist_project\n")
        assert told(found, "warning") == ["line 4, [plugins] enable: there is no such key; it has no effect"]


class TestAll:
    REST = "[plugins]\nenabled = all\n[blocklist]\npackages =\n    bad\n[latest_release]\nkeep = 3\n"

    def test_it_stands_for_filters_with_settings(self, tmp_path: Path) -> None:
        found = mirror(tmp_path, rest=self.REST)
        assert found.configuration.plugins == (
            "blocklist_project",
            "blocklist_release",
            "prerelease_release",
            "latest_release",
        )
        assert told(found, "warning") == [
            "line 4, [plugins] enabled: all enables what is installed and has settings: blocklist_project, blocklist_release, prerelease_release, latest_release"
        ]

    def test_an_allowlist_that_is_there_and_empty_still_stops(self, tmp_path: Path) -> None:
        found = mirror(tmp_path, rest=f"{self.REST}[allowlist]\npackages =\n")
        assert len(found.errors) == 2

    def test_as_bandersnatch_it_stands_for_all(self, tmp_path: Path) -> None:
        found = mirror(tmp_path, "compat = all-plugins empty-allowlist", rest=self.REST)
        assert found.configuration.plugins == tuple(FILTERS)
        assert any(
            "allowlist_release is enabled" in each and "drops every release" in each for each in told(found, "warning")
        )

    def test_it_enables_the_plugins_of_others(self, tmp_path: Path) -> None:
        installed = InstalledPlugins({"safety_db_release": "bandersnatch-safety-db"}, loadable=True)
        assert "safety_db_release" in mirror(tmp_path, rest=self.REST, installed=installed).configuration.plugins


class TestEmptyLists:
    @pytest.mark.parametrize(
        ("plugin", "place"),
        [
            ("allowlist_project", "[allowlist] packages"),
            ("allowlist_release", "[allowlist] packages"),
            ("project_requirements", "[allowlist] requirements"),
            ("project_requirements_pinned", "[allowlist] requirements"),
        ],
    )
    @pytest.mark.parametrize("rest", ["", "[allowlist]\n", "[allowlist]\npackages =\nrequirements =\n    # none\n"])
    def test_an_empty_allowlist_stops(self, tmp_path: Path, plugin: str, place: str, rest: str) -> None:
        (error,) = told(filtered(tmp_path, plugin, rest=rest), "error")
        assert error.endswith(f"{plugin} is enabled, but {place} is empty, so that nothing is allowed")
        switched = filtered(tmp_path, plugin, rest=rest, compat="empty-allowlist")
        assert not switched.errors
        assert len(told(switched, "warning")) == 1

    @pytest.mark.parametrize("plugin", sorted(set(FILTERS) - {
        "allowlist_project", "allowlist_release", "project_requirements", "project_requirements_pinned", "prerelease_release"
    }))  # fmt: skip
    def test_another_filter_without_settings_lets_everything_pass(self, tmp_path: Path, plugin: str) -> None:
        found = filtered(tmp_path, plugin)
        (warning,) = told(found, "warning")
        assert "it lets everything pass" in warning
        assert found.configuration.plugins == (plugin,)

    def test_pre_releases_need_no_settings(self, tmp_path: Path) -> None:
        sound(filtered(tmp_path, "prerelease_release"))


class TestSettings:
    def test_settings_without_a_filter_have_no_effect(self, tmp_path: Path) -> None:
        found = mirror(tmp_path, rest=ALLOWLIST)
        assert told(found, "warning") == [
            "line 4, [allowlist] packages: this has no effect: no enabled filter reads it"
        ]
        assert "allowlist_project" in found.notices[0].advice

    def test_an_exemption_is_a_use(self, tmp_path: Path) -> None:
        rest = f"{ALLOWLIST}[size_project_metadata]\nmax_package_size = 1G\n"
        sound(filtered(tmp_path, "size_project_metadata", rest=rest))

    @pytest.mark.parametrize(
        ("plugin", "section", "line", "problem"),
        [
            ("allowlist_project", "allowlist", "packages = demo >=", "'demo >=' is no requirement such as demo or demo>=1.0"),
            ("blocklist_project", "blocklist", "packages = -e demo", "'-e demo' is no requirement such as demo or demo>=1.0"),
            ("regex_project", "filter_regex", "packages = [a", "'[a' is no regular expression: "),
            ("regex_release", "filter_regex", "releases = (", "'(' is no regular expression: "),
            ("regex_project_metadata", "regex_project_metadata", "any:info.name = *", "'*' is no regular expression: "),
            ("regex_release_file_metadata", "regex_release_file_metadata", "search = x", "'x' is neither true nor false"),
            (
                "version_range_release_file_metadata",
                "version_range_release_file_metadata",
                "any:release_file.requires_python = three",
                "'three' is no version",
            ),
            ("latest_release", "latest_release", "keep = few", "'few' is no whole number"),
            ("latest_release", "latest_release", "keep = 3\nsort_by = name", "'name' is neither version nor time"),
            ("size_project_metadata", "size_project_metadata", "max_package_size = huge", "'huge' is no size such as 500M"),
            (
                "versions_count_project_metadata",
                "versions_count_project_metadata",
                "min_versions = 9\nmax_versions = 3",
                "at least 9 and at most 3 releases contradict each other",
            ),
        ],
    )  # fmt: skip
    def test_a_setting_that_cannot_be_read_stops(
        self, tmp_path: Path, plugin: str, section: str, line: str, problem: str
    ) -> None:
        found = filtered(tmp_path, plugin, rest=f"[{section}]\n{line}\n")
        (error,) = told(found, "error")
        assert problem in error
        assert error.startswith("line ")

    @pytest.mark.parametrize("line", ["keep = few", "keep = 3\nsort_by = name"])
    def test_as_bandersnatch_it_is_ignored(self, tmp_path: Path, line: str) -> None:
        found = filtered(tmp_path, "latest_release", rest=f"[latest_release]\n{line}\n", compat="ignored-filters")
        assert not found.errors
        assert len(told(found, "warning")) == 1

    @pytest.mark.parametrize("size", ["500", "500M", "1.5 GB", "2GiB", "10 megabytes", "0"])
    def test_sizes_for_people(self, tmp_path: Path, size: str) -> None:
        sound(filtered(tmp_path, "size_project_metadata", rest=f"[size_project_metadata]\nmax_package_size = {size}\n"))

    def test_two_allowlists_must_both_have_a_project(self, tmp_path: Path) -> None:
        rest = f"{ALLOWLIST}requirements =\n    r.txt\n"
        found = filtered(tmp_path, "allowlist_project", "project_requirements", rest=rest)
        assert len(told(found, "note")) == 1

    def test_options_of_requirement_files_are_ignored_in_an_allowlist(self, tmp_path: Path) -> None:
        found = filtered(tmp_path, "allowlist_project", rest=f"{ALLOWLIST}    -r other.txt\n")
        assert found.configuration.sections.lines("allowlist", "packages") == ("demo",)
        assert len(told(found, "warning")) == 1


class TestLists:
    @pytest.mark.parametrize(
        ("plugin", "section", "key", "text", "entries"),
        [
            ("allowlist_project", "allowlist", "packages", "a, b>=1,<2 c", ("a", "b>=1,<2", "c")),
            ("allowlist_project", "allowlist", "packages", "a >= 1, < 2, b", ("a>=1,<2", "b")),
            ("project_requirements", "allowlist", "requirements", "a.txt, b*.in", ("a.txt", "b*.in")),
            ("exclude_platform", "blocklist", "platforms", "windows, py2", ("windows", "py2")),
            ("prerelease_release", "filter_prerelease", "packages", "a b", ("a", "b")),
            ("regex_project", "filter_regex", "packages", "a{1,2}$ b.*", ("a{1,2}$", "b.*")),
            (
                "version_range_release_file_metadata",
                "version_range_release_file_metadata",
                "any:release_file.requires_python",
                "3.8, 3.9",
                ("3.8", "3.9"),
            ),
        ],
    )
    def test_a_list_on_one_line_is_read_and_called_out(
        self, tmp_path: Path, plugin: str, section: str, key: str, text: str, entries: tuple[str, ...]
    ) -> None:
        found = filtered(tmp_path, plugin, rest=f"[{section}]\n{key} = {text}\n")
        assert found.configuration.sections.lines(section, key) == entries
        assert len(told(found, "warning")) == 1
        assert not found.errors

    @pytest.mark.parametrize(
        ("plugin", "section", "key", "text"),
        [
            ("allowlist_project", "allowlist", "packages", 'a[x] >= 1, < 2 ; python_version > "3"'),
            ("allowlist_project", "allowlist", "packages", "a @ https://files.example/a-1.tar.gz"),
            ("project_requirements", "allowlist", "requirements", "my file.txt"),
            ("exclude_platform", "blocklist", "platforms", "windows"),
            ("regex_project", "filter_regex", "packages", "a{1,2}$"),
            ("regex_project_metadata", "regex_project_metadata", "any:info.license", "MIT License, or so"),
        ],
    )
    def test_one_entry_is_left_alone(self, tmp_path: Path, plugin: str, section: str, key: str, text: str) -> None:
        found = filtered(tmp_path, plugin, rest=f"[{section}]\n{key} = {text}\n")
        assert sound(found).sections.lines(section, key) == (text,)

    def test_platforms_may_stand_on_one_line(self, tmp_path: Path) -> None:
        found = filtered(
            tmp_path, "exclude_platform", rest="[blocklist]\nplatforms = windows py2\n", compat="one-line-lists"
        )
        assert sound(found).sections.lines("blocklist", "platforms") == ("windows", "py2")

    def test_text_behind_a_hash_is_a_comment_where_names_are(self, tmp_path: Path) -> None:
        rest = "[filter_regex]\npackages =\n    a.*  # b\n[regex_project_metadata]\nany:info.name =\n    a #b\n"
        found = sound(filtered(tmp_path, "regex_project", "regex_project_metadata", rest=rest))
        assert found.sections.lines("filter_regex", "packages") == ("a.*",)
        assert found.sections.lines("regex_project_metadata", "any:info.name") == ("a #b",)


class TestOwnFilters:
    """The section of the filters that bandersnatch does not have, which bandersnatch ignores."""

    REST = "[pkgindex]\nplatforms = linux, windows\nlicences =\n    MIT OR Apache-2.0\n    BSD\nlatest = 3\ncooldown = 7d\n"

    def test_settings_have_the_types_of_a_table(self, tmp_path: Path) -> None:
        assert mirror(tmp_path, rest=self.REST).configuration.own_filters == {
            "platforms": ("linux", "windows"),
            "licences": ("MIT OR Apache-2.0", "BSD"),
            "latest": 3,
            "cooldown": "7d",
        }

    def test_they_need_not_be_enabled(self, tmp_path: Path) -> None:
        sound(mirror(tmp_path, rest=self.REST.replace(",", "\n   ")))

    def test_an_unknown_key_stops(self, tmp_path: Path) -> None:
        found = mirror(tmp_path, rest="[pkgindex]\nplatform = linux\n")
        assert told(found, "error") == ["line 4, [pkgindex] platform: there is no such key; it has no effect"]
        assert found.errors[0].advice == "did you mean 'platforms'?"

    def test_a_table_of_toml_has_them_too(self, tmp_path: Path) -> None:
        text = '[mirror]\ndirectory = "/x"\n[filters.pkgindex]\nplatforms = ["linux"]\nuploaded_after = 2025-01-31\nlatest = 3\n'
        found = examined(tmp_path, text, name="x.toml")
        own = {"platforms": ("linux",), "uploaded_after": "2025-01-31", "latest": 3}
        assert sound(found).own_filters == own

    def test_the_keys_are_those_of_the_filters(self) -> None:
        settings = pytest.importorskip(
            "pkgindex_mirror.filters.own.filter_settings", reason="the filters are not there"
        )
        read = {field.name: getattr(settings.FilterSettings(), field.name) for field in fields(settings.FilterSettings)}
        assert {key: kind == "text" for key, kind in OWN_KEYS.items()} == {
            key: not isinstance(default, tuple) for key, default in read.items()
        }


class TestUnknown:
    def test_each_unknown_section_and_key_has_one_warning(self, tmp_path: Path) -> None:
        found = mirror(
            tmp_path,
            "keep = 1",
            rest="[latest]\nkeep = 1\nsort_by = time\n[blocklist]\npackage = x\n[statistics]\nlog = x\n",
        )
        assert told(found, "warning") == [
            "line 3, [mirror] keep: there is no such key; it has no effect",
            "line 4, [latest]: no filter that is known here reads this section",
            "line 8, [blocklist] package: there is no such key; it has no effect",
            "line 9, [statistics]: this section has no effect",
        ]
        assert found.notices[1].advice == "did you mean [latest_release]?"
        assert found.configuration.sections["latest"] == {"keep": "1", "sort_by": "time"}

    def test_keys_of_all_sections_are_not_unknown_in_each(self, tmp_path: Path) -> None:
        found = examined(
            tmp_path,
            f"[DEFAULT]\nbase = x\n[mirror]\ndirectory = /x\n[plugins]\nenabled =\n    allowlist_project\n{ALLOWLIST}",
        )
        assert sound(found).sections["allowlist"] == {"packages": "demo"}


def test_each_setting_of_a_filter_is_in_the_table_of_sections() -> None:
    read = {place for plugin in FILTERS.values() for place in (*plugin.needs, *plugin.takes)}
    assert read == {(section, key) for section, keys in SECTIONS.items() for key in keys if section != OWN_SECTION}
    assert all(ANY_KEY not in keys or len(keys) <= 2 for keys in SECTIONS.values())
