"""The headers by which devpi's client identifies a server. Its documents and the answers to uploads have them."""

from __future__ import annotations

from typing import Final

from pkgindex_core.engine import Engine
from pkgindex_core.installed import installed_version

API_VERSION: Final = "2"
"""devpi's client refuses any other version."""


async def marks(engine: Engine) -> dict[str, str]:
    """The headers with the identity of the store and its newest known commit."""
    identity = await engine.uuid()
    return {
        "X-Devpi-Api-Version": API_VERSION,
        "X-Devpi-Server-Version": installed_version("pkgindex"),
        "X-Devpi-Uuid": identity,
        "X-Devpi-Primary-Uuid": identity,
        "X-Devpi-Master-Uuid": identity,
        "X-Devpi-Serial": str(engine.store.seen()),
    }
