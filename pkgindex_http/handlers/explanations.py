"""`/+explain`: tells as JSON why a project's page shows its files."""

from __future__ import annotations

import msgspec

from pkgindex_core.errors import Refused
from pkgindex_core.names import IndexName, ProjectName, parse_index_name, parse_project_name
from pkgindex_core.rules.access import allowed_index
from pkgindex_core.rules.permissions import Action
from pkgindex_http.requests import Ask
from pkgindex_http.wire.replies import Reply, json_reply


async def may_explain(ask: Ask) -> None:
    """Check the right to explain the index and the project in the query."""
    index, project = asked_about(ask)
    allowed_index(await ask.engine.store.tree(), index, ask.principal, Action.EXPLAIN, project=project)


async def explain(ask: Ask) -> Reply:
    """Answer which layers give files to a project's page, and why."""
    index, project = asked_about(ask)
    story = await ask.engine.explaining.explain(index, project, principal=ask.principal)
    return json_reply(msgspec.to_builtins(story), headers={"Cache-Control": "no-store", "Vary": "Authorization"})


def asked_about(ask: Ask) -> tuple[IndexName, ProjectName]:
    """The index and the project that the query names."""
    project = ask.query("project")
    if not project:
        raise Refused("the URL does not name a project", hint="add ?project=NAME and, if needed, &index=USER/INDEX")
    named = ask.query("index")
    return parse_index_name(named) if named else ask.default_index, parse_project_name(project)
