"""Opens the engine of a server, with the arguments that only the server knows."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from typing import Any

from pkgindex_core.engine import Engine
from pkgindex_core.plugins import Plugins, load_plugins
from pkgindex_http import plugin
from pkgindex_http.settings import ServerSettings


def opened_engine(
    settings: ServerSettings, *, plugins: Plugins | None = None, **options: Any
) -> AbstractAsyncContextManager[Engine]:
    """`Engine.open` for a server, which takes the same options. `plugins` are loaded with `program=pkgindex_http.plugin`."""
    return Engine.open(
        settings,
        plugins=plugins or load_plugins(program=plugin, disabled=settings.disabled_plugins, settings=settings.plugins),
        public_url=settings.public_url,
        names_from_elsewhere=bool(settings.remote_user.header),
        **options,
    )
