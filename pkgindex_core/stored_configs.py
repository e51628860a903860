"""Index configurations as they lie in stores, logs and dumps, also those that earlier programs wrote.

What an earlier program wrote is brought up to date when it is read, each time: commits are never written again. A configuration is read
once as what it is today, and once for the fields that are no more; one that has none of them costs nothing else.
"""

from __future__ import annotations

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from pkgindex_core.models import IndexConfig


class FormerConfig(Struct, frozen=True, kw_only=True):
    """The part of a stored configuration that earlier programs wrote in another way."""

    type: str = "stage"

    def brought_up(self, config: IndexConfig) -> IndexConfig:
        """The same configuration as this program writes it."""
        # Being a mirror was no field once, but what an index of this type was.
        if self.type == "mirror" and not config.mirrored:
            return replace(config, mirrored=True)
        return config


def decode_config(data: bytes) -> IndexConfig:
    """Read a stored configuration."""
    return _former.decode(data).brought_up(_config.decode(data))


_config = msgspec.msgpack.Decoder(IndexConfig)
_former = msgspec.msgpack.Decoder(FormerConfig)
