"""The files in a root, and the project of each by its name. Nothing here reads a file.

An index has one file of each name. If several directories have one, the directory nearest to the root counts, and of several the first by name.
"""

from __future__ import annotations

import sys
from collections.abc import Collection, Mapping
from functools import lru_cache

from msgspec import Struct

from pkgindex_core.errors import Refused
from pkgindex_core.formats.filenames import FILENAME_LIMIT, candidate_projects, kind_of, parse_upload_filename
from pkgindex_core.formats.upload_rules import LENIENT
from pkgindex_core.names import ProjectName, normalized_or_none


class Entry(Struct, frozen=True, gc=False):
    """One file of a root."""

    path: str
    """An absolute path without symbolic links, or a URL."""
    project: ProjectName
    mark: str
    """A text that changes when the file is written or replaced (`protocols.sources.mark_of`)."""
    size: int
    modified: float
    """Seconds since the epoch, by the clock of the file system."""

    @property
    def filename(self) -> str:
        return self.path.rpartition("/")[2]


def project_of(filename: str) -> ProjectName | None:
    """The likeliest project of a distribution, by its filename; None for any other file, and for a hidden one."""
    if filename.startswith(".") or len(filename) > FILENAME_LIMIT or not filename.isascii():
        return None
    name, _, rest = filename.partition("-")
    if rest.endswith(".whl"):
        project = _normalized(name) if rest.count("-") in {3, 4} else None
    elif kind_of(filename) in {"other", "wheel"}:
        return None
    else:
        project = next(iter(candidate_projects(filename)), None)
    # A project may have thousands of files: they share one object.
    return None if project is None else ProjectName(sys.intern(project))


def names_a_distribution(filename: str) -> bool:
    """Whether a file of this name, for which `project_of` finds a project, would be one of its distributions if it were whole."""
    try:
        parse_upload_filename(filename, LENIENT)
    except Refused:
        return False
    return True


@lru_cache(maxsize=4096)
def _normalized(name: str) -> ProjectName | None:
    """Cached: a project has many files, and a walk normalizes the name of each."""
    return normalized_or_none(name)


class RootListing:
    """The files of one root, by path and by project."""

    def __init__(self) -> None:
        self._entries: dict[str, Entry] = {}
        self._paths: dict[ProjectName, set[str]] = {}
        self._versions: dict[ProjectName, int] = {}
        self.changes = 0
        """A number that grows whenever anything changes."""

    def put(self, found: Mapping[str, Entry | None]) -> set[ProjectName]:
        """Set the entries of some paths (None: no file). Returns the projects whose files changed."""
        changed: set[ProjectName] = set()
        for path, entry in found.items():
            before = self._entries.get(path)
            if before == entry:
                continue
            if before is not None:
                del self._entries[path]
                self._paths[before.project].discard(path)
                changed.add(before.project)
            if entry is not None:
                self._entries[path] = entry
                self._paths.setdefault(entry.project, set()).add(path)
                changed.add(entry.project)
        for project in changed:
            self._versions[project] = self._versions.get(project, 0) + 1
            if not self._paths[project]:
                del self._paths[project]
        self.changes += bool(changed)
        return changed

    def become(self, found: Mapping[str, Entry]) -> set[ProjectName]:
        """Replace all entries with those of a walk through the whole root."""
        gone: dict[str, Entry | None] = dict.fromkeys(self._entries.keys() - found.keys())
        return self.put({**gone, **found})

    def below(self, directory: str) -> Collection[str]:
        """The paths of the files in a directory and in those within."""
        return [path for path in self._entries if path.startswith(f"{directory}/")]

    @property
    def projects(self) -> Collection[ProjectName]:
        return self._paths.keys()

    def version(self, project: ProjectName) -> int:
        """A number that changes whenever a file of the project does."""
        return self._versions.get(project, 0)

    def paths(self, project: ProjectName) -> Collection[str]:
        return self._paths.get(project, ())

    def files(self, project: ProjectName) -> dict[str, Entry]:
        """The files of a project by name."""
        files: dict[str, Entry] = {}
        for entry in self.entries(project):
            files.setdefault(entry.filename, entry)
        return files

    def entries(self, project: ProjectName) -> list[Entry]:
        """All files of a project. Of several with one name, the first counts."""
        return [self._entries[path] for path in sorted(self.paths(project), key=lambda path: (path.count("/"), path))]
