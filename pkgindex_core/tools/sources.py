"""Which source an index has, by its type."""

from __future__ import annotations

from collections.abc import Mapping

from pkgindex_core.models import IndexConfig
from pkgindex_core.protocols import Source


class Sources:
    """The sources of all types of index. Every index has one."""

    def __init__(self, by_type: Mapping[str, Source], *, hosted: Source, absent: Source) -> None:
        """`hosted` is that of types whose content lies here, `absent` of those whose content comes from elsewhere and which nobody
        here can ask.
        """
        self.by_type = by_type
        self._hosted = hosted
        self._absent = absent

    def of(self, index: IndexConfig) -> Source:
        return self.by_type.get(index.type) or (self._absent if index.mirrored else self._hosted)
