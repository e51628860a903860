"""Why a project's page shows what it shows, as a document."""

from __future__ import annotations

import msgspec

from pkgindex_core.errors import Refused
from pkgindex_core.names import parse_index_name, parse_project_name
from pkgindex_http.replies import Reply, json_reply
from pkgindex_http.requests import Ask


async def explain(ask: Ask) -> Reply:
    """Why a project's page shows what it shows."""
    project = ask.query("project")
    if not project:
        raise Refused("which project is to be explained?", hint="add ?project=NAME, and &index=USER/INDEX if need be")
    named = ask.query("index")
    index = parse_index_name(named) if named else ask.server.default_index
    story = await ask.engine.explaining.explain(index, parse_project_name(project), principal=ask.principal)
    return json_reply(msgspec.to_builtins(story), headers={"Cache-Control": "no-store", "Vary": "Authorization"})
