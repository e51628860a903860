"""Finds the source of an index by its type, and keeps what to ask it about a project."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from pkgindex_core.models import IndexConfig, Standing
from pkgindex_core.names import ProjectName
from pkgindex_core.protocols import Source


class LayerSource(NamedTuple):
    """The source of a layer that joins, and the layer's standing."""

    source: Source
    config: IndexConfig
    standing: Standing

    def is_current(self, project: ProjectName) -> bool:
        """As `Source.is_current`."""
        return self.source.is_current(self.config, project, self.standing)


class Sources:
    """The sources of all types of index. Every index has one."""

    def __init__(self, by_type: Mapping[str, Source], *, hosted: Source, absent: Source) -> None:
        """`hosted` is the source of types whose content lies here; `absent` is that of mirrored types for which no plugin has a
        source.
        """
        self.by_type = by_type
        self.hosted = hosted
        self._absent = absent

    def of(self, index: IndexConfig) -> Source:
        return self.by_type.get(index.type) or (self.hosted if index.needs_blobs else self._absent)
