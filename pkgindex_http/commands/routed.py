"""The part of a server's settings that comes from `--routes`; empty without the option."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from pkgindex_http.settings import ServerSettings


class Routed(Struct, frozen=True, kw_only=True):
    defaults: Mapping[str, Any] = {}
    """Values of options that are not given otherwise."""
    table: Mapping[str, Any] = {}
    """`[plugins.routes]`."""
    remarks: tuple[str, ...] = ()
    """Lines for an administrator."""

    def added_to(self, settings: ServerSettings) -> ServerSettings:
        return replace(settings, plugins={**settings.plugins, "routes": dict(self.table)}) if self.table else settings
