"""Index configurations as a test says them: options by their names, wherever they are kept.

mirror_config("root/pypi", "https://example.org/simple/", mirror_cache_expiry=60)
"""

from __future__ import annotations

from typing import Any

from pkgindex_core.models import IndexConfig
from pkgindex_core.names import IndexName
from pkgindex_core.protocols.index_types import IndexType
from pkgindex_core.rules.index_options import BUILTIN_TYPES


def index_config(name: str, **options: Any) -> IndexConfig:
    """An index with these options and no others. What a built-in `type` means for it is set as well."""
    _, declared = BUILTIN_TYPES.get(options.get("type", "stage"), ("", IndexType()))
    return IndexConfig(name=IndexName(name), **{"mirrored": declared.mirrored, **options})


def mirror_config(name: str, url: str = "", **options: Any) -> IndexConfig:
    """A mirror of an upstream; without a URL it has none."""
    return index_config(name, type="mirror", **({"mirror_url": url} if url else {}), **options)
