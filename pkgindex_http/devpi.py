"""The part of devpi's protocol that manages releases and log-ins, in devpi's envelope: `{"result", "type", "message"}`."""

from __future__ import annotations

import msgspec

from pkgindex_core.errors import Denied, Refused
from pkgindex_http.bodies import read_json
from pkgindex_http.replies import Reply, json_reply
from pkgindex_http.requests import Ask


class _Login(msgspec.Struct):
    user: str
    password: str


async def login(ask: Ask) -> Reply:
    """Exchange a password for a token."""
    try:
        asked = await read_json(ask.request, _Login)
    except Refused as error:
        return json_reply({"message": f"Bad request: no user/password specified ({error.message})"}, status=400)
    try:
        token, seconds = await ask.engine.identity.login(asked.user, asked.password)
    except Denied:
        return json_reply({"message": f"user {asked.user[:80]!r} could not be authenticated"}, status=401)
    result = {"password": token, "expiration": seconds}
    return json_reply(
        {"result": result, "type": "proxyauth", "message": "login successful"}, headers={"Cache-Control": "no-store"}
    )


async def delete_project(ask: Ask) -> Reply:
    """Delete a project from an index."""
    await ask.engine.releases.delete_project(ask.index, ask.project, principal=ask.principal, force=_force(ask))
    return json_reply({"message": f"project {ask.project!r} deleted"})


async def delete_release(ask: Ask) -> Reply:
    """Delete one version of a project from an index."""
    version = ask.values["version"]
    await ask.engine.releases.delete_release(
        ask.index, ask.project, version, principal=ask.principal, force=_force(ask)
    )
    return json_reply({"message": f"project {ask.project!r} version {version!r} deleted"})


def _force(ask: Ask) -> bool:
    return ask.query("force") is not None
