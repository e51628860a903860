"""Old names do what they did, with a warning."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.mirror.bandersnatch.files import examined, mirror, sound, told

OLD = """\
    [mirror]
    directory = /srv/pypi
    [plugins]
    enabled =
        whitelist_project
        blacklist_project
        whitelist_release
        blacklist_release
    [whitelist]
    packages =
        demo
    [blacklist]
    packages =
        bad
    platforms =
        windows
"""
TODAY = OLD.replace("white", "allow").replace("black", "block")


def test_sections_and_plugins_are_renamed(tmp_path: Path) -> None:
    old = examined(tmp_path, OLD)
    today = examined(tmp_path, TODAY)
    assert old.configuration == today.configuration
    assert old.configuration.sections.lines("allowlist", "packages") == ("demo",)
    assert told(old, "warning") == [
        "line 4, [plugins] enabled: whitelist_project is called allowlist_project since bandersnatch 5.0",
        "line 4, [plugins] enabled: blacklist_project is called blocklist_project since bandersnatch 5.0",
        "line 4, [plugins] enabled: whitelist_release is called allowlist_release since bandersnatch 5.0",
        "line 4, [plugins] enabled: blacklist_release is called blocklist_release since bandersnatch 5.0",
        "line 9, [whitelist]: the section is called [allowlist] since bandersnatch 5.0",
        "line 12, [blacklist]: the section is called [blocklist] since bandersnatch 5.0",
        "line 15, [blocklist] platforms: this has no effect: no enabled filter reads it",
    ]


def test_as_bandersnatch_old_names_have_no_effect(tmp_path: Path) -> None:
    found = examined(tmp_path, OLD.replace("[plugins]", "compat = legacy-keys unknown-plugins\n    [plugins]"))
    assert found.configuration.plugins == ()
    assert dict(found.configuration.sections) == {}
    assert not found.errors


def test_the_list_of_plugins_was_in_the_blacklist_once(tmp_path: Path) -> None:
    rest = "[blacklist]\nplugins =\n    whitelist_project\n[whitelist]\npackages =\n    demo\n"
    found = mirror(tmp_path, rest=rest)
    assert found.configuration.plugins == ("allowlist_project",)
    assert dict(found.configuration.sections) == {"allowlist": {"packages": "demo"}}
    beside = mirror(tmp_path, rest=f"{rest}[plugins]\nenabled =\n    prerelease_release\n")
    assert beside.configuration.plugins == ("prerelease_release",)
    assert "line 4, [blacklist] plugins: this has no effect beside [plugins] enabled" in told(beside, "warning")


def test_a_new_name_beside_an_old_one_counts(tmp_path: Path) -> None:
    rest = "[plugins]\nenabled =\n    allowlist_project\n[whitelist]\npackages =\n    old\n[allowlist]\npackages =\n    new\n"
    found = mirror(tmp_path, rest=rest)
    assert found.configuration.sections.lines("allowlist", "packages") == ("new",)
    assert "line 7, [whitelist] packages: this has no effect beside [allowlist] packages" in told(found, "warning")


@pytest.mark.parametrize(
    ("lines", "removed"),
    [
        (("delete-packages = true",), "delete"),
        (("delete-packages = false",), "keep"),
        (("delete-packages = true", "removed = hide"), "hide"),
        (("delete-packages = true", "compat = strict"), "keep"),
    ],
)
def test_delete_packages_is_a_policy(tmp_path: Path, lines: tuple[str, ...], removed: str) -> None:
    found = mirror(tmp_path, *lines)
    assert found.configuration.removed == removed
    assert len(told(found, "warning")) == 1


def test_a_wrong_policy_is_an_error(tmp_path: Path) -> None:
    assert told(mirror(tmp_path, "delete-packages = soon"), "error") == [
        "line 3, [mirror] delete-packages: 'soon' is neither true nor false"
    ]


def test_the_way_to_ask_has_no_effect(tmp_path: Path) -> None:
    found = mirror(tmp_path, "api-method = xmlrpc")
    assert told(found, "warning") == ["line 3, [mirror] api-method: bandersnatch does not have this key any more"]
    assert found.configuration == sound(mirror(tmp_path))


def test_types_of_packages_are_a_filter(tmp_path: Path) -> None:
    found = mirror(tmp_path, "packagetype = sdist bdist_wheel", rest="[plugins]\nenabled = prerelease_release\n")
    assert found.configuration.plugins == ("prerelease_release", "regex_release_file_metadata")
    assert found.configuration.sections.lines("regex_release_file_metadata", "any:release_file.packagetype") == (
        "sdist$",
        "bdist_wheel$",
    )
    assert len(found.notices) == 1
