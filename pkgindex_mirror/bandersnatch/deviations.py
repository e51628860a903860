"""Where a mirror does on purpose something else than bandersnatch does, each with the word that switches back.

`compat = strict` in `[mirror]` switches all of them back, a list of words some of them. bandersnatch does not read the key.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from msgspec import Struct


class Deviation(Struct, frozen=True):
    """One difference: what a mirror does, and what it does with the switch, as bandersnatch."""

    ours: str
    theirs: str


STRICT: Final = "strict"
"""The word for all deviations together."""

DEVIATIONS: Final[Mapping[str, Deviation]] = {
    "exit-codes": Deviation(
        "the exit code tells of failed projects, of an upstream that is down and of a full disk",
        "the exit code is 0 although projects failed",
    ),
    "empty-allowlist": Deviation(
        "an allowlist without entries is an error, and nothing is mirrored",
        "an allowlist of projects without entries allows everything, one of releases drops every release",
    ),
    "one-line-lists": Deviation(
        "a list on one line, with commas or blanks between its entries, is read as a list, with a warning",
        "a list on one line is one entry: `enabled = a, b` enables nothing",
    ),
    "unknown-plugins": Deviation(
        "an enabled plugin that is not known is an error, and nothing is mirrored",
        "an enabled plugin that is not known is ignored",
    ),
    "ignored-filters": Deviation(
        "a filter with a setting that cannot be read is an error, and nothing is mirrored",
        "a filter with a number or size that cannot be read lets everything pass",
    ),
    "all-plugins": Deviation(
        "`enabled = all` enables the filters that have settings, and `prerelease_release`",
        "`enabled = all` enables the filters of releases without settings too, which drop every release",
    ),
    "keep-index-versions": Deviation(
        "`keep-index-versions` is another spelling of `keep_index_versions`",
        "`keep-index-versions` has no effect",
    ),
    "legacy-keys": Deviation(
        "keys, sections and plugins of old versions do what they did then",
        "keys, sections and plugins of old versions have no effect",
    ),
    "url-case": Deviation(
        "`HTTP://` is an http URL",
        "`HTTP://` passes where http is not allowed",
    ),
    "raw-names": Deviation(
        "`prerelease_release` compares normalised names",
        "`prerelease_release` compares the name as the upstream spells it with a normalised one, so that some never match",
    ),
    "invalid-versions": Deviation(
        "`latest_release` sorts versions that no standard knows before all others",
        "`latest_release` fails at a project with a version that no standard knows, or in newer versions leaves it out",
    ),
    "none-null": Deviation(
        "the tag `none` of the metadata filters obeys `match-null`",
        "the tag `none` of the metadata filters rejects what has no such entry",
    ),
    "pages": Deviation(
        "filters read package types, versions and the newest version from the page of a project, if it has them",
        "filters read them from the JSON document of a project, which is fetched for that",
    ),
    "requirement-files": Deviation(
        "requirement files may have hashes, continued lines, and `-r` and `-c` with other files",
        "a requirement file with hashes is an error, and lines that begin with `-` are ignored",
    ),
}
"""Each deviation by its word."""
