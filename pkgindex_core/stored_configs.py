"""Index configurations as they lie in stores, logs and dumps, also those that earlier programs wrote.

What an earlier program wrote is brought up to date when it is read, each time: commits are never written again. A configuration is read
once as what it is today, and once for the fields that are no more; one that has none of them costs nothing else.

What was derived from the bytes of a commit (the identity of a store) is derived from those that the first program wrote, by `as_at_first`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec
from msgspec import UNSET, Struct
from msgspec.structs import replace

from pkgindex_core.models import IndexConfig


class FormerConfig(Struct, frozen=True, kw_only=True):
    """The part of a stored configuration that earlier programs wrote in another way."""

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
        """The same configuration as this program writes it."""
        mirrored = config.mirrored or _MIRRORED.get(self.type, False)
        # Once fields beside the options, now options of the same names.
        moved = msgspec.to_builtins(self)
        moved.pop("type", None)
        if not moved and mirrored == config.mirrored:
            return config
        return replace(config, mirrored=mirrored, options={**moved, **config.options})


def decode_config(data: bytes) -> IndexConfig:
    """Read a stored configuration."""
    return _former.decode(data).brought_up(_config.decode(data))


class FirstConfig(Struct, frozen=True, kw_only=True):
    """A configuration with the fields of the first program, in its order: encoded, it is what that program wrote, byte by byte."""

    name: Any = UNSET
    type: Any = UNSET
    read_only: Any = UNSET
    mirrored: Any = UNSET
    """Later, and there only where the type's name does not mean it."""
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
    """A configuration as the first program wrote it; equal whether that program wrote it or this one."""
    values = msgspec.to_builtins(config)
    if config.mirrored == _MIRRORED.get(config.type, False):
        values.pop("mirrored", None)
    options = values.pop("options", {})
    moved = {name: options.pop(name) for name in _MOVED if name in options}
    return FirstConfig(**values, **moved, options=options or UNSET)


_MIRRORED: Final[Mapping[str, bool]] = {"mirror": True}
"""Whether indexes of a type are mirrored: what its name alone said, before that was a field."""
_MOVED: Final = tuple(name for name in FormerConfig.__struct_fields__ if name != "type")
_config = msgspec.msgpack.Decoder(IndexConfig)
_former = msgspec.msgpack.Decoder(FormerConfig)
