"""`LateSource`: a source that is made, and whose modules are loaded, at its first question."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from pkgindex_core.changes import Change, Commit, Requirement
from pkgindex_core.digests import Sha256
from pkgindex_core.models import File, IndexConfig, Standing
from pkgindex_core.names import ProjectName
from pkgindex_core.protocols import Blob, Freshness, Names, Opened, Source
from pkgindex_core.protocols.sources import NOTHING_SPOOLED, Examiner


class _MadeSource(Source, Examiner, Protocol): ...


class LateSource:
    """Passes every question on."""

    def __init__(self, make: Callable[[], _MadeSource]) -> None:
        """`make` is called once. It cannot fail: the caller checks the settings."""
        self._make = make

    @cached_property
    def made(self) -> _MadeSource:
        """The source itself."""
        return self._make()

    def is_current(self, index: IndexConfig, project: ProjectName, standing: Standing) -> bool:
        return "made" in vars(self) and self.made.is_current(index, project, standing)

    async def refresh(
        self, index: IndexConfig, project: ProjectName, standing: Standing, *, again: bool = False
    ) -> Freshness:
        return await self.made.refresh(index, project, standing, again=again)

    async def names(self, index: IndexConfig, *, ask: bool = True) -> Names:
        return await self.made.names(index, ask=ask)

    async def open(self, index: IndexConfig, project: ProjectName, file: File, *, elsewhere: bool = True) -> Opened:
        return await self.made.open(index, project, file, elsewhere=elsewhere)

    async def metadata(self, index: IndexConfig, project: ProjectName, file: File) -> Blob:
        return await self.made.metadata(index, project, file)

    async def put(
        self,
        index: IndexConfig,
        changes: Sequence[Change],
        *,
        who: str,
        require: Iterable[Requirement] = (),
        spooled: Mapping[Sha256, Path] = NOTHING_SPOOLED,
    ) -> Commit | None:
        return await self.made.put(index, changes, who=who, require=require, spooled=spooled)

    async def examine(self, index: IndexConfig) -> str:
        return await self.made.examine(index)

    async def close(self) -> None:
        if "made" in vars(self):
            await self.made.close()


if TYPE_CHECKING:
    _: type[Source] = LateSource
    _also: type[Examiner] = LateSource
