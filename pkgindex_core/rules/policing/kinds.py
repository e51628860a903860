"""The rules that lines of policies may name, and how their values are read. Pure: a value is text before, and a plain value after."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any, Final

from msgspec import Struct

from pkgindex_core.protocols.policies import Mode


class Kind(Struct, frozen=True, kw_only=True):
    """One rule."""

    summary: str
    """One line for the documentation."""
    value: str = ""
    """An example of a value; empty: it has none."""
    may_lack_value: bool = False
    """Whether the value may be missing."""
    parser: str | Callable[[str], Any] = ""
    """`module:function` in this package, which reads the text of a value and raises `Refused` for a wrong one. Empty: the text is the value."""
    filter: str
    """`module:class` in this package: the `PolicyFilter` of the rule."""
    mode: Mode = "block"
    """The mode of a line that names none."""
    at_uploads: bool = False
    """Whether it refuses uploads too."""
    only_uploads: bool = False
    """Whether it refuses uploads and hides nothing."""
    reads_book: bool = False
    """Whether its filter is made with the book of advisories too."""

    def parse(self, text: str) -> Any:
        """Read a value."""
        if not self.parser:
            return text
        return (found(self.parser) if isinstance(self.parser, str) else self.parser)(text)


def found(target: str) -> Any:
    """An object of this package. Modules of rules are loaded when a rule is used."""
    module, _, attribute = target.partition(":")
    return getattr(import_module(f"pkgindex_core.rules.policing.{module}"), attribute)


COOLDOWN: Final = "cooldown"
NOTHING_AFTER: Final = "nothing-after"
PUBLISHED_BY: Final = "published-by"
PUBLISHER_CHANGE: Final = "publisher-change"

KINDS: Final[Mapping[str, Kind]] = {
    COOLDOWN: Kind(
        summary="new releases wait, until their newest file is this old",
        value="7d",
        parser="waiting:parse_cooldown",
        filter="age_filters:CooldownFilter",
    ),
    NOTHING_AFTER: Kind(
        summary="releases with a file that was published after an instant are hidden",
        value="2026-11-01T00:00:00Z",
        parser="waiting:parse_instant",
        filter="age_filters:NothingAfterFilter",
    ),
    "quarantine": Kind(
        summary="releases are hidden, for a reason",
        value="the maintainer's account was taken over",
        may_lack_value=True,
        filter="content_rules:QuarantineFilter",
        at_uploads=True,
    ),
    "deprecated": Kind(
        summary="clients are warned of releases",
        value="use the new name",
        may_lack_value=True,
        filter="content_rules:DeprecatedFilter",
        mode="warn",
    ),
    "revoked": Kind(
        summary="bytes are hidden and refused by their digest, under any name; each line counts",
        value="sha256:DIGEST stolen signing key",
        parser="content_rules:parse_revoked",
        filter="content_rules:RevokedFilter",
        at_uploads=True,
    ),
    "file-types": Kind(
        summary="only files with these endings are let through",
        value="whl, tar.gz",
        parser="content_rules:parse_types",
        filter="content_rules:FileTypesFilter",
        at_uploads=True,
    ),
    "max-size": Kind(
        summary="larger files are hidden and refused",
        value="500MB",
        parser="content_rules:parse_size",
        filter="content_rules:MaxSizeFilter",
        at_uploads=True,
    ),
    "malware": Kind(
        summary="releases that an advisory calls malicious are hidden and refused",
        filter="advisory_rules:MalwareFilter",
        at_uploads=True,
        reads_book=True,
    ),
    "vulnerabilities": Kind(
        summary="clients are warned of releases with known vulnerabilities, from a severity on",
        value="high fixed",
        may_lack_value=True,
        parser="advisory_rules:parse_threshold",
        filter="advisory_rules:VulnerabilitiesFilter",
        mode="warn",
        at_uploads=True,
        reads_book=True,
    ),
    "private": Kind(
        summary="names that no upstream is asked for",
        filter="names:PrivateFilter",
    ),
    "reserved": Kind(
        summary="names that belong to this index: no mirror gives them to this index and those that inherit it",
        filter="names:ReservedFilter",
    ),
    "names-stay": Kind(
        summary="a project that is deleted leaves its name reserved",
        filter="names:NamesStayRule",
        only_uploads=True,
    ),
    "archived": Kind(
        summary="releases take no files",
        value="superseded by 2.0",
        may_lack_value=True,
        filter="upload_rules:ArchivedRule",
        only_uploads=True,
    ),
    "closed-after": Kind(
        summary="releases take no files when their first file is this old",
        value="14d",
        parser="upload_rules:parse_open_days",
        filter="upload_rules:ClosedAfterRule",
        only_uploads=True,
    ),
    "licences": Kind(
        summary="uploads need a License-Expression that allows to choose one of these (SPDX)",
        value="MIT, Apache-2.0",
        parser="upload_rules:parse_licences",
        filter="upload_rules:LicencesRule",
        only_uploads=True,
    ),
    "startup-files": Kind(
        summary="wheels have no files that run whenever Python starts",
        filter="upload_rules:StartupFilesRule",
        only_uploads=True,
    ),
    "scripts": Kind(
        summary="wheels have no scripts besides entry points",
        filter="upload_rules:ScriptsRule",
        only_uploads=True,
    ),
    "install-places": Kind(
        summary="wheels overwrite no interpreter and write nothing outside of site-packages, scripts and headers",
        filter="upload_rules:InstallPlacesRule",
        only_uploads=True,
    ),
    PUBLISHED_BY: Kind(
        summary="files come from this publisher only, or from one of these, as attestations or trusted publishing prove",
        value="github:octo/demo//release.yml#production",
        parser="publisher_filters:parse_publishers",
        filter="publisher_filters:PublishedByFilter",
    ),
    PUBLISHER_CHANGE: Kind(
        summary="files have the same publisher as the files of the project before them",
        filter="publisher_filters:PublisherChangeFilter",
        mode="warn",
    ),
}
