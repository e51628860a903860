"""Filters that judge a file by its metadata: `regex_release_file_metadata`, `version_range_release_file_metadata`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from msgspec import Struct
from packaging.version import Version

from pkgindex_core.errors import Refused
from pkgindex_core.models import File
from pkgindex_mirror.filters.bandersnatch.paths import DottedPath, PathPatterns, dotted_path, plain_patterns
from pkgindex_mirror.filters.bandersnatch.sections import Settings, lines_of
from pkgindex_mirror.filters.legacy_documents import LegacyDocument, entry_of, legacy_document, needed_document
from pkgindex_mirror.filters.quiet_filter import QuietFilter
from pkgindex_mirror.filters.releases import parsed_specifier, parsed_version
from pkgindex_mirror.syncing.values import Refusal, UpstreamProject

_ON_PAGES: Final = frozenset(
    {
        ("info", "name"),
        ("release",),
        ("release_file", "filename"),
        ("release_file", "packagetype"),
        ("release_file", "requires_python"),
        ("release_file", "size"),
        ("release_file", "upload_time_iso_8601"),
        ("release_file", "yanked"),
        ("release_file", "yanked_reason"),
    }
)
"""Paths to what a page has too."""
"""The most characters of a specifier that is read."""


class FileMetadata(QuietFilter):
    """Leaves out files that do not pass all keys: a reason for each key that a file does not pass."""

    def __init__(
        self,
        word: str,
        paths: Sequence[DottedPath],
        settings: Any,
        reason: Callable[[Mapping[str, Any]], str],
        *,
        by_document: bool,
    ) -> None:
        """`reason` says why what is known of a file does not pass; empty when it passes."""
        needs = bool(paths) and (by_document or any(path.steps not in _ON_PAGES for path in paths))
        super().__init__(word, settings, needs_document=needs)
        self._reason = reason
        self._paths = tuple(paths)

    def refuses_files(self, project: UpstreamProject, files: Sequence[File]) -> Mapping[str, Refusal]:
        if not self._paths:
            return {}
        document = needed_document(project, self.word) if self.needs_document else legacy_document(project)
        refused = {}
        for file in files:
            if reason := self._reason(_root(project, file, document)):
                refused[file.filename] = self.refusal(reason)
        return refused


def file_patterns(word: str, patterns: Sequence[PathPatterns], *, by_document: bool) -> FileMetadata:
    """The filter for regular expressions."""

    def reason(root: Mapping[str, Any]) -> str:
        for each in patterns:
            if not each.permits(root):
                return f"its {'.'.join(each.path.steps)} does not pass {each.path.key}"
        return ""

    return FileMetadata(
        word, [each.path for each in patterns], plain_patterns(patterns), reason, by_document=by_document
    )


class WantedVersions(Struct, frozen=True):
    """A path to a specifier, and the versions of which some must satisfy it."""

    path: DottedPath
    versions: tuple[Version, ...]

    def reason(self, root: Mapping[str, Any], *, strict: bool) -> str:
        """Why the specifier does not fit; empty when it does. `strict`: raises `Refused` for one that cannot be read."""
        node = self.path.node(root)
        if node is None or node in ("", [], 0):
            return "" if self.path.passes_null or node == "" else f"it has no {'.'.join(self.path.steps)}"
        specifier = parsed_specifier(node) if isinstance(node, str) else None
        if specifier is None:
            if strict:
                raise Refused(f"{node!r} is no version specifier", hint="bandersnatch fails at it, too")
            return ""
        if any(specifier.contains(version, prereleases=True) for version in self.versions):
            return ""
        return f"its {'.'.join(self.path.steps)} {node} permits none of {', '.join(map(str, self.versions))}"


def wanted_versions(sections: Settings, section: str) -> list[WantedVersions]:
    """The keys of a section with their versions. Raises `Refused` with all texts that are no versions."""
    wanted, problems = [], []
    for key in sections.get(section, {}):
        lines = lines_of(sections, section, key)
        versions = [parsed_version(line) for line in lines]
        problems += [
            f"[{section}] {key}: {line!r} is no version"
            for line, version in zip(lines, versions, strict=True)
            if not version
        ]
        wanted.append(WantedVersions(dotted_path(key), tuple(each for each in versions if each)))
    if problems:
        raise Refused(problems, hint="write one version a line, such as 3.12")
    return wanted


def version_ranges(word: str, wanted: Sequence[WantedVersions], *, strict: bool, by_document: bool) -> FileMetadata:
    """The filter for versions."""

    def reason(root: Mapping[str, Any]) -> str:
        return next((text for each in wanted if (text := each.reason(root, strict=strict))), "")

    settings = [[[each.path.key, [str(one) for one in each.versions]] for each in wanted], strict]
    return FileMetadata(word, [each.path for each in wanted], settings, reason, by_document=by_document)


def _root(project: UpstreamProject, file: File, document: LegacyDocument | None) -> Mapping[str, Any]:
    """The known values of a file, as the keys name them."""
    found = document.file(file.filename) if document else None
    version, entry = found or (file.version, entry_of(file))
    return {
        "info": document.info if document else {"name": project.raw},
        "release": version,
        "release_file": entry,
    }
