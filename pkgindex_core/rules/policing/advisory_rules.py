"""The page filters of the rules `malware` and `vulnerabilities`: releases that an advisory is about. Pure.

The advisories are those of the server's book and those that an index has of its own, which hold for the files of that index.
A withdrawn advisory decides nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Any, ClassVar, Final

from msgspec import Struct

from pkgindex_core.errors import Refused
from pkgindex_core.formats.advisories import Affecting, fixed_in
from pkgindex_core.formats.columns import Columns
from pkgindex_core.models import File, IndexConfig
from pkgindex_core.names import IndexName, ProjectName
from pkgindex_core.protocols.advisories import NO_ADVISORIES, SEVERITIES, Advisory, AdvisoryBook, Severity
from pkgindex_core.protocols.policies import Build
from pkgindex_core.rules.policing.content_rules import ContentFilter
from pkgindex_core.rules.policing.lines import ServerPolicies
from pkgindex_core.rules.policing.own_advisories import own_advisories
from pkgindex_core.rules.policing.policy_filter import Held

_SHOWN: Final = 80
_NAMED: Final = 5
_FIXED: Final = "fixed"
_KEPT: Final = 512


class Threshold(Struct, frozen=True):
    """The value of a rule `vulnerabilities`."""

    severity: Severity = "unknown"
    """The least severe that counts. An unknown severity counts always: it may be any."""
    only_fixed: bool = False
    """Whether only those count that are fixed in some version, so that an upgrade helps."""


def parse_threshold(text: str) -> Threshold:
    """Read a severity, and perhaps `fixed`: `high fixed`."""
    words = text.lower().split()
    only_fixed = _FIXED in words
    said = [word for word in words if word != _FIXED]
    severities = [each for each in SEVERITIES[1:] if each in said]
    if len(said) > 1 or len(said) != len(severities):
        raise Refused(
            f"{text[:_SHOWN]!r} is no severity",
            hint=f"write {', '.join(SEVERITIES[1:])} or nothing, and perhaps {_FIXED} behind it",
        )
    return Threshold(severities[0] if severities else "unknown", only_fixed)


class AdvisoryFilter(ContentFilter):
    """Releases that advisories are about."""

    by_version = True
    of_malware: ClassVar[bool]
    """Whether the rule is about advisories of malware, or about all others."""

    def __init__(self, server: ServerPolicies, book: AdvisoryBook = NO_ADVISORIES) -> None:
        super().__init__(server)
        self._book = book
        self._compared: dict[
            tuple[IndexName, ProjectName], tuple[Sequence[Advisory], IndexConfig | None, Affecting]
        ] = {}

    @property
    def fingerprint(self) -> str:
        return f"{super().fingerprint} {self._book.revision}"

    @property
    def watched(self) -> AdvisoryBook:
        return self._book

    def fingerprint_of(self, project: ProjectName) -> str:
        """A new book changes only the pages of projects whose advisories it changes."""
        return f"{super().fingerprint_of(project)} {self._book.revision_of(project)}"

    def concerns(self, value: Any, advisory: Advisory, project: ProjectName) -> bool:
        """Whether a line with this value is about an advisory of the rule."""
        return True

    def suspects(self, origin: IndexName, columns: Columns, build: Build) -> Collection[str] | None:
        known = self._known(origin, build)
        if not known or not self._of(build.tree).candidates(origin, build.project):
            return ()
        return [*filter(known.about, columns.distinct)]

    def _found(self, value: Any, origin: IndexName, file: File, build: Build) -> list[Advisory]:
        """The advisories about a file, the most severe first."""
        about = self._known(origin, build).about(file.version)
        found = [each for each in about if self.concerns(value, each, build.project)]
        return sorted(found, key=lambda each: (-SEVERITIES.index(each.severity), each.id))

    def _known(self, origin: IndexName, build: Build) -> Affecting:
        """The advisories of the book and of an index about a project, while neither changes."""
        told = self._book.about(build.project)
        config = build.tree.indexes.get(origin)
        known = self._compared.get((origin, build.project))
        if known is None or known[0] is not told or known[1] is not config:
            own = () if config is None else own_advisories(config).get(build.project, ())
            if len(self._compared) >= _KEPT:
                self._compared.clear()
            ours = [each for each in (*told, *own) if each.is_malware is self.of_malware]
            known = self._compared[origin, build.project] = (told, config, Affecting(ours, build.project))
        return known[2]


class MalwareFilter(AdvisoryFilter):
    """Hides releases that are malicious."""

    rule = "malware"
    of_malware = True

    def decides(self, value: Any, origin: IndexName, file: File, build: Build) -> Held | None:
        return _held(self._found(value, origin, file, build), lambda each: f"{each.id}: {each.summary or 'malicious'}")


class VulnerabilitiesFilter(AdvisoryFilter):
    """Warns of releases with known vulnerabilities, or hides them."""

    rule = "vulnerabilities"
    of_malware = False

    def concerns(self, value: Any, advisory: Advisory, project: ProjectName) -> bool:
        return (
            advisory.severity == "unknown" or SEVERITIES.index(advisory.severity) >= SEVERITIES.index(value.severity)
        ) and (not value.only_fixed or bool(fixed_in(advisory, project)))

    def decides(self, value: Any, origin: IndexName, file: File, build: Build) -> Held | None:
        def told(each: Advisory) -> str:
            fixed = ", ".join(fixed_in(each, build.project))
            return f"{each.id} ({each.severity}): {each.summary}" + (f"; fixed in {fixed}" if fixed else "; not fixed")

        return _held(self._found(value, origin, file, build), told)


def _held(found: Sequence[Advisory], told: Callable[[Advisory], str]) -> Held | None:
    """The first advisory with its summary, and the names of some others."""
    if not found:
        return None
    others = [each.id for each in found[1 : 1 + _NAMED]]
    more = len(found) - 1 - len(others)
    also = f"; also {', '.join(others)}" if others else ""
    return Held(told(found[0]) + also + (f" and {more} more" if more else ""))
