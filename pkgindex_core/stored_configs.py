"""Index configurations as they lie in stores, logs and dumps, also those that earlier programs wrote.

What an earlier program wrote is brought up to date when it is read, each time: commits are never written again. A configuration is read
once as what it is today, and once for the fields that are no more; one that has none of them costs nothing else.
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


_MIRRORED: Final[Mapping[str, bool]] = {"mirror": True}
"""What was no field once, but what the name of a type meant."""
_config = msgspec.msgpack.Decoder(IndexConfig)
_former = msgspec.msgpack.Decoder(FormerConfig)
