"""An index store that takes commits of its primary, and no others."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from pkgindex_core.changes import Change, Commit, Requirement
from pkgindex_core.engines.behind.passing import PassingIndex
from pkgindex_core.errors import ReadOnlyReplica
from pkgindex_core.protocols.index_store import IndexStore


class ReplicaIndex(PassingIndex):
    """Refuses `apply`. `replay` and notes go through."""

    def __init__(self, inner: IndexStore, primary: str) -> None:
        super().__init__(inner)
        self._primary = primary

    async def apply(
        self,
        changes: Sequence[Change],  # noqa: ARG002  # the role's signature
        *,
        who: str,  # noqa: ARG002  # the role's signature
        require: Iterable[Requirement] = (),  # noqa: ARG002  # the role's signature
    ) -> Commit | None:
        raise ReadOnlyReplica(self._primary)
