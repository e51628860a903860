"""The two ways to make filters: from bandersnatch's sections, and from settings of one's own. `Filters.joined` puts both together."""

from __future__ import annotations

from pkgindex_mirror.filters.bandersnatch.plugin_filters import filters_of
from pkgindex_mirror.filters.own.own_filters import own_filters

__all__ = ["filters_of", "own_filters"]
