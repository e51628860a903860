"""Makes an index as a command line or a file describes it, or changes the one that exists."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from pkgindex_core.engine import Engine
from pkgindex_core.errors import Conflict, Refused
from pkgindex_core.names import parse_index_name
from pkgindex_core.protocols import Principal
from pkgindex_core.rules.permissions import ROOT

ADMINISTRATOR: Final = Principal(name=ROOT)
"""The principal that makes and changes the indexes of a command line."""


async def ensure_index(engine: Engine, name: str, kind: str, options: Mapping[str, Any]) -> None:
    """Make an index, or change the one that exists. Raises `Refused` if that has another type."""
    index = parse_index_name(name)
    if index not in (await engine.store.tree()).indexes:
        given = {key: value for key, value in options.items() if value is not None}
        try:
            await engine.indexes.create(name, {"type": kind, **given}, principal=ADMINISTRATOR)
        except Conflict:  # another server started at the same moment
            pass
        else:
            return
    config = await engine.indexes.config(index)
    if config.type != kind:
        raise Refused(
            f"{name} exists already, with the type {config.type}",
            hint="choose another place for the data with --data, or another name with --default-index",
        )
    await engine.indexes.modify(index, options, principal=ADMINISTRATOR)
