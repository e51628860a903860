"""Makes index configurations for tests, from options by their names.

mirror_config("root/pypi", "https://example.org/simple/", mirror_cache_expiry=60)
"""

from __future__ import annotations

from typing import Any

from msgspec.structs import replace

from pkgindex_core.models import IndexConfig
from pkgindex_core.names import IndexName
from pkgindex_core.protocols.index_types import IndexType
from pkgindex_core.rules.index_options import BUILTIN_TYPES
from pkgindex_core.rules.kept_options import with_options


def index_config(name: str, **options: Any) -> IndexConfig:
    """An index with these options and no others, and with the properties of its built-in `type`."""
    _, declared = BUILTIN_TYPES.get(options.get("type", "stage"), ("", IndexType()))
    return changed_config(IndexConfig(name=IndexName(name), mirrored=declared.mirrored), **options)


def mirror_config(name: str, url: str = "", **options: Any) -> IndexConfig:
    """A mirror of an upstream; of none without a URL."""
    return index_config(name, type="mirror", mirror_url=url, **options)


def changed_config(config: IndexConfig, **options: Any) -> IndexConfig:
    """The index with these options changed."""
    fields = {name: options.pop(name) for name in IndexConfig.__struct_fields__ if name in options}
    return with_options(replace(config, **fields), **options)
