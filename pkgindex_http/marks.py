"""The headers by which devpi's client and replicas know a server. Its documents have them, and so has the answer to an upload."""

from __future__ import annotations

from importlib.metadata import version
from typing import Final

from pkgindex_core.engine import Engine

API_VERSION: Final = "2"
"""Any other makes the client give up."""

_VERSION: Final = version("pkgindex")
"""Read once: it is looked for in files."""


async def marks(engine: Engine) -> dict[str, str]:
    """The headers that say which server answers, and up to which commit it knows."""
    identity = await engine.uuid()
    return {
        "X-Devpi-Api-Version": API_VERSION,
        "X-Devpi-Server-Version": _VERSION,
        "X-Devpi-Uuid": identity,
        "X-Devpi-Primary-Uuid": identity,
        "X-Devpi-Master-Uuid": identity,
        "X-Devpi-Serial": str(engine.store.seen()),
    }
