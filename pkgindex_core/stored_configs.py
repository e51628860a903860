"""Index configurations as stores, logs and dumps have them, also from earlier versions.

Commits are never rewritten, so an old configuration is converted each time it is read. It is decoded once with the present
fields, and once for the fields that no longer exist.

The identity of a store is derived from the bytes of its first commit, as the first version wrote them: see `as_at_first`.
"""

# Annotations are values here and no text (`from __future__ import annotations`), which msgspec would compile at every start.

from collections.abc import Mapping
from typing import Any, Final

import msgspec
from msgspec import UNSET, Struct
from msgspec.structs import replace

from pkgindex_core.models import IndexConfig


class FormerConfig(Struct, frozen=True, kw_only=True):
    """The part of a stored configuration that earlier versions wrote in another way."""

    type: str = "stage"
    mirror_whitelist: Any = UNSET
    mirror_whitelist_inheritance: Any = UNSET
    mirror_url: Any = UNSET
    mirror_credentials: Any = UNSET
    mirror_cache_expiry: Any = UNSET
    mirror_use_external_urls: Any = UNSET
    mirror_no_project_list: Any = UNSET
    mirror_ignore_serial_header: Any = UNSET
    absent_statuses: Any = UNSET
    mirror_web_url_fmt: Any = UNSET

    def brought_up(self, config: IndexConfig) -> IndexConfig:
        """Convert to the present form."""
        mirrored = config.mirrored or _MIRRORED.get(self.type, False)
        # Former fields are options of the same names now.
        moved = msgspec.to_builtins(self)
        moved.pop("type", None)
        if not moved and mirrored == config.mirrored:
            return config
        return replace(config, mirrored=mirrored, options={**moved, **config.options})


def decode_config(data: bytes) -> IndexConfig:
    """Read a stored configuration."""
    return _former.decode(data).brought_up(_config.decode(data))


class FirstConfig(Struct, frozen=True, kw_only=True):
    """A configuration with the fields of the first version, in their order. Its encoding is the bytes that version wrote."""

    name: Any = UNSET
    type: Any = UNSET
    read_only: Any = UNSET
    mirrored: Any = UNSET
    """A later field. Set only when the type's name does not imply it."""
    bases: Any = UNSET
    volatile: Any = UNSET
    acl_read: Any = UNSET
    acl_upload: Any = UNSET
    acl_toxresult_upload: Any = UNSET
    upload_rules: Any = UNSET
    mirror_whitelist: Any = UNSET
    mirror_whitelist_inheritance: Any = UNSET
    mirror_url: Any = UNSET
    mirror_credentials: Any = UNSET
    mirror_cache_expiry: Any = UNSET
    mirror_use_external_urls: Any = UNSET
    mirror_no_project_list: Any = UNSET
    mirror_ignore_serial_header: Any = UNSET
    absent_statuses: Any = UNSET
    mirror_web_url_fmt: Any = UNSET
    title: Any = UNSET
    description: Any = UNSET
    custom_data: Any = UNSET
    options: Any = UNSET


def as_at_first(config: IndexConfig) -> FirstConfig:
    """Convert to the form of the first version. The result is the same for every version that wrote `config`."""
    values = msgspec.to_builtins(config)
    if config.mirrored == _MIRRORED.get(config.type, False):
        values.pop("mirrored", None)
    options = values.pop("options", {})
    moved = {name: options.pop(name) for name in _MOVED if name in options}
    return FirstConfig(**values, **moved, options=options or UNSET)


_MIRRORED: Final[Mapping[str, bool]] = {"mirror": True}
"""Whether indexes of a type are mirrored. The name implied it before `mirrored` was a field."""
_MOVED: Final = tuple(name for name in FormerConfig.__struct_fields__ if name != "type")
_config = msgspec.msgpack.Decoder(IndexConfig)
_former = msgspec.msgpack.Decoder(FormerConfig)
