"""The beginning of every filter here: it leaves everything in until a subclass has an opinion."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pkgindex_core.models import File
from pkgindex_mirror.filters.filtering import MirrorFilter
from pkgindex_mirror.filters.fingerprints import fingerprint_of
from pkgindex_mirror.syncing.values import Listed, Refusal, UpstreamProject


class QuietFilter:
    """A filter that refuses nothing. `settings` are the plain values from which its fingerprint is made."""

    def __init__(self, word: str, settings: Any, *, needs_document: bool = False) -> None:
        self.word = word
        self.needs_document = needs_document
        self._fingerprint = fingerprint_of(word, settings)

    @property
    def fingerprint(self) -> str:
        return self._fingerprint

    def refusal(self, reason: str) -> Refusal:
        return Refusal(self.word, reason)

    def refuses_name(self, listed: Listed) -> Refusal | None:  # noqa: ARG002 - subclasses look at it
        return None

    def refuses_project(self, project: UpstreamProject) -> Refusal | None:  # noqa: ARG002 - subclasses look at it
        return None

    def refuses_files(self, project: UpstreamProject, files: Sequence[File]) -> Mapping[str, Refusal]:  # noqa: ARG002 - subclasses look at them
        return {}


if TYPE_CHECKING:
    _: type[MirrorFilter] = QuietFilter
