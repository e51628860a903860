"""A closure as the filter of a mirror: exactly its projects and files are mirrored."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from hashlib import sha256
from typing import TYPE_CHECKING

import msgspec

from pkgindex_core.models import File
from pkgindex_core.names import ProjectName
from pkgindex_mirror.closing.closure import Closure
from pkgindex_mirror.filters.filtering import MirrorFilter
from pkgindex_mirror.syncing.values import Listed, Refusal, UpstreamProject


class ClosureFilter:
    """Leaves in what a closure has."""

    word = "closure"
    needs_document = False

    def __init__(self, closure: Closure) -> None:
        self.closure = closure
        self._files = {
            name: {file.filename: file.sha256 for file in project.files} for name, project in closure.projects.items()
        }

    @property
    def names(self) -> tuple[ProjectName, ...]:
        """The projects of the closure: a mirror needs no list of its upstream to find them."""
        return tuple(self._files)

    @cached_property
    def fingerprint(self) -> str:
        """The digest of all names of files with their digests."""
        return f"closure:{sha256(msgspec.json.encode(self._files, order='deterministic')).hexdigest()}"

    def refuses_name(self, listed: Listed) -> Refusal | None:
        if listed.name in self._files:
            return None
        return Refusal(self.word, "nothing in the closure asks for it")

    def refuses_project(self, project: UpstreamProject) -> Refusal | None:
        return None if project.name in self._files else Refusal(self.word, "nothing in the closure asks for it")

    def refuses_files(self, project: UpstreamProject, files: Sequence[File]) -> Mapping[str, Refusal]:
        known = self._files.get(project.name, {})
        refused = {}
        for file in files:
            if file.filename not in known:
                refused[file.filename] = Refusal(self.word, "it is not in the closure")
            elif known[file.filename] and file.sha256 and known[file.filename] != file.sha256:
                refused[file.filename] = Refusal(self.word, "its sha256 is another than in the closure")
        return refused


if TYPE_CHECKING:
    _: type[MirrorFilter] = ClosureFilter
