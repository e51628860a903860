"""The routes of devpi-tokens, for the tokens of this server: make, list and revoke.

The text of a token has the form of a macaroon (`formats.macaroons`), so that the client commands of the plugin can read it.
`formats.token_restrictions` translates the restrictions. Managing tokens needs a log-in: a token cannot do it.
"""

from __future__ import annotations

from typing import Any

from pkgindex_core.errors import Missing
from pkgindex_core.formats.macaroons import write_macaroon
from pkgindex_core.formats.token_restrictions import read_restrictions, write_restrictions
from pkgindex_core.rules.access import require_user_right
from pkgindex_core.rules.permissions import ROOT, Action
from pkgindex_core.tokens import parse_token
from pkgindex_http.devpi.envelope import document, said
from pkgindex_http.requests import Ask
from pkgindex_http.wire.bodies import read_json
from pkgindex_http.wire.replies import Reply


async def may_manage(ask: Ask) -> None:
    """Check the right to manage the tokens of the user in the URL."""
    require_user_right(ask.principal, Action.TOKEN_MANAGE, ask.values["user"])


async def create_token(ask: Ask) -> Reply:
    """Make a token with the restrictions in the body."""
    user = ask.values["user"]
    asked: dict[str, Any] = await read_json(ask.request, dict) if ask.request.can_read_body else {}
    limits = read_restrictions(asked, now=ask.engine.clock.now(), unbounded=ask.principal.name == ROOT)
    text, token = await ask.engine.tokens.make(
        user,
        who=ask.principal.label,
        seconds=limits.seconds,
        indexes=limits.indexes,
        projects=limits.projects,
        actions=limits.actions,
        newcomer=ask.principal.name == user,
    )
    made = parse_token(text)
    assert made is not None
    return document({"token": write_macaroon(made, user, write_restrictions(token))}, "token-info")


async def list_tokens(ask: Ask) -> Reply:
    """The tokens of a user, without their secrets and without log-ins."""
    user = ask.values["user"]
    if ask.principal.name != user and await ask.engine.store.user(user) is None:
        raise Missing("user", user)
    tokens = {
        token.id: {"restrictions": write_restrictions(token), **({"name": token.name} if token.name else {})}
        for token in await ask.engine.store.tokens(user)
        if token.kind == "api"
    }
    return document({"tokens": tokens}, "tokens-info")


async def delete_token(ask: Ask) -> Reply:
    """Revoke a token."""
    user, token_id = ask.values["user"], ask.values["id"]
    token = await ask.engine.store.token(token_id)
    if token is None or token.user != user or token.kind != "api":
        raise Missing("token", token_id[:40])
    await ask.engine.tokens.revoke(token_id, who=ask.principal.label)
    return said(f"token {token_id} deleted")
