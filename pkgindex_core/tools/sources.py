"""Finds the source of an index by its type."""

from __future__ import annotations

from collections.abc import Mapping

from pkgindex_core.models import IndexConfig
from pkgindex_core.protocols import Source


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
