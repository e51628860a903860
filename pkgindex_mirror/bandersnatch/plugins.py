"""The filters that a configuration can enable, the sections that they read, and the contents of their keys."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal

from msgspec import Struct

Stage = Literal["project", "metadata", "release_file", "release"]
"""When a filter judges. bandersnatch runs the stages in this order."""

Content = Literal["requirements", "names", "paths", "words", "name patterns", "patterns", "versions", "lines", "text"]
"""The content of a key. All but `text` are lists. Those of `lines` are never split."""

ANY_KEY: Final = "*"
"""Stands for the keys of a section that are paths into the metadata, such as `any:info.classifiers`."""


class FilterPlugin(Struct, frozen=True):
    """A filter."""

    stage: Stage
    needs: tuple[tuple[str, str], ...]
    """Section and key of the settings without which it has nothing to do."""
    meaning: str
    """A sentence."""
    takes: tuple[tuple[str, str], ...] = ()
    """Section and key of its further settings."""


_ALLOWED: Final = ("allowlist", "packages")
_FILES: Final = ("allowlist", "requirements")
_BLOCKED: Final = ("blocklist", "packages")

FILTERS: Final[Mapping[str, FilterPlugin]] = {
    "allowlist_project": FilterPlugin("project", (_ALLOWED,), "Only the listed projects are mirrored."),
    "project_requirements": FilterPlugin(
        "project",
        (_FILES,),
        "Only the projects in the requirement files are mirrored.",
        takes=(("allowlist", "requirements_path"),),
    ),
    "blocklist_project": FilterPlugin(
        "project",
        (_BLOCKED,),
        "The listed projects are not mirrored. Entries with versions are left to `blocklist_release`.",
    ),
    "regex_project": FilterPlugin(
        "project",
        (("filter_regex", "packages"),),
        "Projects are not mirrored if the beginning of their name matches a pattern.",
    ),
    "regex_project_metadata": FilterPlugin(
        "metadata",
        (("regex_project_metadata", ANY_KEY),),
        "Only projects are mirrored whose metadata match the patterns, for each key. With `search = true` a match may begin anywhere.",
        takes=(("regex_project_metadata", "search"),),
    ),
    "size_project_metadata": FilterPlugin(
        "metadata",
        (("size_project_metadata", "max_package_size"),),
        "Projects whose files together are larger are not mirrored. Those of `[allowlist] packages` are exempt.",
        takes=(_ALLOWED,),
    ),
    "versions_count_project_metadata": FilterPlugin(
        "metadata",
        (("versions_count_project_metadata", "min_versions"), ("versions_count_project_metadata", "max_versions")),
        "Projects with fewer or more releases are not mirrored. Those of `[allowlist] packages` are exempt.",
        takes=(_ALLOWED,),
    ),
    "exclude_platform": FilterPlugin(
        "release_file",
        (("blocklist", "platforms"),),
        "Files for the listed platforms and Pythons are not mirrored; sources are.",
    ),
    "regex_release_file_metadata": FilterPlugin(
        "release_file",
        (("regex_release_file_metadata", ANY_KEY),),
        "Only files are mirrored whose metadata match the patterns, for each key. With `search = true` a match may begin anywhere.",
        takes=(("regex_release_file_metadata", "search"),),
    ),
    "version_range_release_file_metadata": FilterPlugin(
        "release_file",
        (("version_range_release_file_metadata", ANY_KEY),),
        "Only files are mirrored whose range of versions has one of the listed versions, for each key.",
    ),
    "allowlist_release": FilterPlugin(
        "release",
        (_ALLOWED,),
        "Only releases are mirrored that an entry of the list permits, and none of other projects.",
    ),
    "blocklist_release": FilterPlugin(
        "release", (_BLOCKED,), "Releases that an entry of the list names are not mirrored."
    ),
    "project_requirements_pinned": FilterPlugin(
        "release",
        (_FILES,),
        "Only releases are mirrored that the requirement files permit. For a project with versions there, no other filter of releases counts.",
        takes=(("allowlist", "requirements_path"),),
    ),
    "prerelease_release": FilterPlugin(
        "release",
        (),
        "Pre-releases are not mirrored: of the listed projects, or of all.",
        takes=(("filter_prerelease", "packages"),),
    ),
    "regex_release": FilterPlugin(
        "release",
        (("filter_regex", "releases"),),
        "Releases are not mirrored if the beginning of their version matches a pattern.",
    ),
    "latest_release": FilterPlugin(
        "release",
        (("latest_release", "keep"),),
        "Only the newest releases are mirrored, and always the one that the upstream shows.",
        takes=(("latest_release", "sort_by"),),
    ),
}
"""The filters of bandersnatch by name, in the order of their stages."""

OWN_SECTION: Final = "pkgindex"
"""The section of the filters that bandersnatch does not have. They need not be enabled: a key that is there counts."""
OWN_KEYS: Final[Mapping[str, Content]] = {
    "names": "names",
    "except_names": "names",
    "except_statuses": "names",
    "licences": "lines",
    "except_licences": "lines",
    "unknown_licence": "text",
    "kinds": "names",
    "yanked": "text",
    "prereleases": "text",
    "pythons": "lines",
    "implementations": "names",
    "platforms": "names",
    "architectures": "names",
    "sdists": "text",
    "uploaded_after": "text",
    "uploaded_before": "text",
    "cooldown": "text",
    "unknown_upload_time": "text",
    "max_file_size": "text",
    "latest": "text",
    "latest_per_minor": "text",
    "latest_minors": "text",
    "max_release_size": "text",
    "max_project_size": "text",
}

SECTIONS: Final[Mapping[str, Mapping[str, Content]]] = {
    "allowlist": {"packages": "requirements", "requirements_path": "text", "requirements": "paths"},
    "blocklist": {"packages": "requirements", "platforms": "words"},
    "filter_regex": {"packages": "name patterns", "releases": "name patterns"},
    "filter_prerelease": {"packages": "names"},
    "regex_project_metadata": {"search": "text", ANY_KEY: "patterns"},
    "regex_release_file_metadata": {"search": "text", ANY_KEY: "patterns"},
    "version_range_release_file_metadata": {ANY_KEY: "versions"},
    "size_project_metadata": {"max_package_size": "text"},
    "versions_count_project_metadata": {"min_versions": "text", "max_versions": "text"},
    "latest_release": {"keep": "text", "sort_by": "text"},
    OWN_SECTION: OWN_KEYS,
}
"""The sections of filters, with their keys."""

EMPTY_ALLOWS_NOTHING: Final = frozenset(
    {"allowlist_project", "project_requirements", "allowlist_release", "project_requirements_pinned"}
)
"""Filters with a list of what is allowed. Without an entry such a list is a mistake."""


def content(section: str, key: str) -> Content | None:
    """The content of a key; None: no filter of bandersnatch reads it."""
    keys = SECTIONS.get(section, {})
    return keys.get(key) or keys.get(ANY_KEY)
