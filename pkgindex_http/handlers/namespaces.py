"""Namespaces of an index and its layers (PEP 752). An index without any answers as if these URLs were names of projects."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from pkgindex_core.errors import Missing
from pkgindex_core.names import IndexName
from pkgindex_core.rules.namespaces import granted, namespace_tree
from pkgindex_core.rules.negotiation import JSON_V1
from pkgindex_http.handlers import simple
from pkgindex_http.requests import Ask
from pkgindex_http.wire.replies import SECURITY_HEADERS, Reply


async def listed(ask: Ask) -> Reply:
    """All namespaces: `[{"name": …}, …]`."""
    grants = await _grants(ask)
    if not grants:
        return await simple.add_slash(ask)
    return _reply([{"name": name} for name in sorted(grants)])


async def described(ask: Ask) -> Reply:
    """One namespace: its name, the next wider and narrower ones, and the index that owns it."""
    name = ask.values["namespace"]
    found = namespace_tree(await _grants(ask), name)
    if found is None:
        raise Missing("namespace", name[:160])
    return _reply({"name": found.name, "parent": found.parent, "children": found.children, "owner": found.owner})


async def _grants(ask: Ask) -> Mapping[str, IndexName]:
    return granted(await ask.engine.store.tree(), ask.index)


def _reply(document: Any) -> Reply:
    headers = {**SECURITY_HEADERS, "Content-Type": JSON_V1, "Cache-Control": "no-cache", "Vary": "Authorization"}
    return Reply(headers=headers, body=msgspec.json.encode(document))
