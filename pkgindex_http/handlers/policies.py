"""Decisions of policies, and exemptions from them, as JSON."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from pkgindex_core.clock import Timestamp, from_rfc3339, to_rfc3339
from pkgindex_core.errors import Refused
from pkgindex_core.names import normalized_or_none, parse_index_name
from pkgindex_core.rules.access import allowed_index
from pkgindex_core.rules.permissions import Action, permits
from pkgindex_core.rules.policing.exemptions import Exemption
from pkgindex_core.services.reading.deciding import DecisionRecord
from pkgindex_http.requests import Ask
from pkgindex_http.wire.bodies import read_json
from pkgindex_http.wire.replies import Reply, json_reply

_HEADERS: Final = {"Cache-Control": "no-store", "Vary": "Authorization"}
_MOST: Final = 1000
_FILTERS: Final = ("mode", "verdict")


class _ExemptionForm(msgspec.Struct, forbid_unknown_fields=True):
    purl: str
    reason: str
    rules: list[str] = []
    until: str | None = None


async def may_list(ask: Ask) -> None:
    """Check the right to explain the index in the query, if there is one."""
    if named := ask.query("index"):
        tree = await ask.engine.store.tree()
        allowed_index(tree, parse_index_name(named), ask.principal, Action.EXPLAIN, some_project=True)


async def decisions(ask: Ask) -> Reply:
    """Decisions about files of indexes that the caller may explain: ?index=, project=, rule=, mode=, verdict=, limit=, after=."""
    named = ask.query("index")
    index = parse_index_name(named) if named else None
    project = normalized_or_none(said) if (said := ask.query("project")) else None
    if said and project is None:
        raise Refused(f"{said[:80]!r} is no name of a project")
    wanted = {name: value for name in _FILTERS if (value := ask.query(name))}
    tree = await ask.engine.store.tree()

    def chosen(decision: DecisionRecord) -> bool:
        config = tree.indexes.get(decision.index)
        return (
            all(getattr(decision, name) == value for name, value in wanted.items())
            and config is not None
            and permits(ask.principal, Action.EXPLAIN, index=config, project=decision.project).allowed
        )

    explained = [
        name
        for name, config in tree.indexes.items()
        if permits(ask.principal, Action.EXPLAIN, index=config, some_project=True).allowed
    ]
    is_narrow = project is not None or len(explained) < len(tree.indexes)
    limit = ask.query("limit") or "200"
    if not limit.isascii() or not limit.isdigit() or len(limit) > 4 or not 0 < int(limit) <= _MOST:
        raise Refused(f"limit is a number from 1 to {_MOST}")
    found, after = await ask.engine.decisions.listed(
        after=ask.query("after") or "",
        limit=int(limit),
        indexes=[index] if index is not None else explained if is_narrow else None,
        project=project,
        rule=ask.query("rule") or None,
        chosen=chosen,
    )
    return json_reply({"decisions": [decision_document(each) for each in found], "after": after}, headers=_HEADERS)


async def exemptions(ask: Ask) -> Reply:
    """The exemptions of the index."""
    found = await ask.engine.exempting.exemptions(ask.index, principal=ask.principal)
    now = ask.engine.clock.now()
    return json_reply({"exemptions": [exemption_document(each, now) for each in found]}, headers=_HEADERS)


async def exempt(ask: Ask) -> Reply:
    """Let a package through."""
    document = await read_json(ask.request, _ExemptionForm)
    until = None if document.until is None else from_rfc3339(document.until)
    if document.until is not None and until is None:
        raise Refused(f"{document.until[:40]!r} is no time", hint="write 2026-12-24T10:00:00Z")
    made = await ask.engine.exempting.exempt(
        ask.index, document.purl, reason=document.reason, rules=document.rules, until=until, principal=ask.principal
    )
    return json_reply(exemption_document(made, ask.engine.clock.now()), headers=_HEADERS)


async def lift(ask: Ask) -> Reply:
    """End the exemption of the package URL in the query."""
    purl = ask.query("purl")
    if not purl:
        raise Refused("the URL names no exemption", hint="add ?purl=pkg:pypi/NAME@VERSION")
    await ask.engine.exempting.lift(ask.index, purl, principal=ask.principal)
    return json_reply({"message": f"the exemption of {purl} is lifted"}, headers=_HEADERS)


def decision_document(decision: DecisionRecord) -> dict[str, Any]:
    """A decision with times in RFC 3339."""
    until = decision.next_eligible_at
    return {
        **msgspec.to_builtins(decision),
        "at": to_rfc3339(decision.at),
        "next_eligible_at": None if until is None else to_rfc3339(until),
    }


def exemption_document(exemption: Exemption, now: Timestamp) -> dict[str, Any]:
    """An exemption with times in RFC 3339."""
    return {
        "purl": exemption.purl,
        "rules": list(exemption.rules),
        "reason": exemption.reason,
        "by": exemption.by,
        "at": to_rfc3339(exemption.at),
        "until": None if exemption.until is None else to_rfc3339(exemption.until),
        "active": exemption.is_active(now),
    }
