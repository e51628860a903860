"""All release filters together, as bandersnatch applies them.

    for each release: the first filter that refuses it removes it, and the next release sees one less

So `latest_release` counts what the filters have left so far, and the order of the releases matters: it is that of the JSON document,
which indexes sort by the spelling of the versions.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Final

from pkgindex_core.models import File
from pkgindex_mirror.filters.bandersnatch.release_judges import ReleaseJudge
from pkgindex_mirror.filters.filtering import MirrorFilter
from pkgindex_mirror.filters.fingerprints import joined_fingerprint
from pkgindex_mirror.filters.legacy_documents import legacy_document
from pkgindex_mirror.filters.quiet_filter import QuietFilter
from pkgindex_mirror.filters.releases import by_release
from pkgindex_mirror.syncing.values import Refusal, UpstreamProject

WORD: Final = "releases"


class ReleaseStage(QuietFilter):
    """The release filters of a configuration. Refusals have the words of the single filters."""

    def __init__(self, judges: Sequence[ReleaseJudge], *, by_document: bool = False) -> None:
        """`by_document`: versions are spelled as the JSON document has them, and not as the page has them."""
        super().__init__(
            WORD,
            joined_fingerprint(each.fingerprint for each in judges),
            needs_document=by_document or any(each.needs_document for each in judges),
        )
        self._judges = tuple(judges)

    def refuses_files(self, project: UpstreamProject, files: Sequence[File]) -> Mapping[str, Refusal]:
        releases = by_release(project, files, legacy_document(project))
        alone = next((each for each in self._judges if each.decides_alone(project)), None)
        judges = (alone,) if alone else self._judges
        opened = [(each.word, each.opened(project, releases)) for each in judges]
        refused: dict[str, Refusal] = {}
        for version in list(releases):
            for word, verdict in opened:
                if reason := verdict(version):
                    refusal = Refusal(word, reason)
                    refused.update((file.filename, refusal) for file in releases.pop(version))
                    break
        return refused


if TYPE_CHECKING:
    _: type[MirrorFilter] = ReleaseStage
