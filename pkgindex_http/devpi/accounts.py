"""Users, for devpi's client: make, change, show and remove them.

    GET    /           all users that the caller may see, with their indexes (for a browser the start page)
    GET    /{user}     one user
    PUT    /{user}     {"password": …, "email": …, "title": …, "description": …, "custom_data": …}
    PATCH  /{user}     the same, or the whole document with changes; the answer to a new password has a new log-in
    DELETE /{user}

devpi's client sends whole documents back, with keys that cannot be changed (`created`, `indexes` …). These are ignored, and a
PATCH also ignores unknown keys, as devpi does. An empty value removes the old one.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from pkgindex_core.errors import Denied, Refused
from pkgindex_http.devpi.envelope import document, said
from pkgindex_http.requests import Ask
from pkgindex_http.wire.bodies import read_json
from pkgindex_http.wire.replies import Reply

_TEXTS: Final = ("email", "title", "description")
_CHANGEABLE: Final = frozenset({*_TEXTS, "custom_data", "password"})
_PASSED_OVER: Final = frozenset({"username", "indexes", "created", "modified"})


async def list_users(ask: Ask) -> Reply:
    """All users that the caller may see."""
    return document(await ask.engine.overview.users(ask.principal), "list:userconfig")


async def may_show(ask: Ask) -> None:
    """Raise `Missing` for a user that the caller may not see."""
    ask.insist()
    await ask.engine.overview.may_see(ask.values["user"], ask.principal)


async def show(ask: Ask) -> Reply:
    """One user with their indexes."""
    return document(await ask.engine.overview.user(ask.values["user"], ask.principal), "userconfig")


async def may_create(ask: Ask) -> None:
    """Check the right to make the user, before the body is read."""
    await ask.engine.users.check_new(ask.values["user"], ask.principal)


async def create(ask: Ask) -> Reply:
    """Make a user."""
    name = ask.values["user"]
    given = await read_json(ask.request, dict[str, Any])
    unknown = sorted(given.keys() - _CHANGEABLE - _PASSED_OVER)
    if unknown:
        raise Refused(f"Unknown keys in user config: {', '.join(key[:80] for key in unknown)}")
    password = _password(given)
    if password is None:
        raise Refused("password needs to be set")
    made = await ask.engine.users.create(
        name, password, principal=ask.principal, **_texts(given), custom_data=given.get("custom_data") or None
    )
    return document(ask.engine.overview.made(made), "userconfig", status=201)


async def may_modify(ask: Ask) -> None:
    """Check the right to change something of the user. The body decides whether that is the password only."""
    await ask.engine.users.check_change(ask.values["user"], ask.principal)


async def modify(ask: Ask) -> Reply:
    """Change a user."""
    given = await read_json(ask.request, dict[str, Any])
    name = ask.values["user"]
    password = _password(given)
    details: dict[str, Any] = _texts(given)
    if "custom_data" in given:
        details["custom_data"] = given["custom_data"] or None
    await ask.engine.users.modify(name, principal=ask.principal, password=password, **details)
    if password is None:
        return said("user updated")
    try:
        token, seconds = await ask.engine.tokens.login(name, password)
    except Denied:
        # The password was changed again before this log-in.
        return said("user updated")
    return document({"password": token, "expiration": seconds}, "userpassword", message="user updated, new proxy auth")


async def may_delete(ask: Ask) -> None:
    """Check the right to remove the user, and that no index of the user is non-volatile."""
    await ask.engine.users.check_deletion(ask.values["user"], ask.principal)


async def delete(ask: Ask) -> Reply:
    """Remove a user with their volatile indexes."""
    name = ask.values["user"]
    await ask.engine.users.delete(name, principal=ask.principal)
    return said(f"user {name!r} deleted")


def _password(given: Mapping[str, Any]) -> str | None:
    password = given.get("password")
    if password is not None and not isinstance(password, str):
        raise Refused("the password must be a string")
    return password


def _texts(given: Mapping[str, Any]) -> dict[str, str]:
    """The given texts of a user. An empty text, null or false removes the old one."""
    wrong = [key for key in _TEXTS if given.get(key) and not isinstance(given[key], str)]
    if wrong:
        raise Refused([f"{key} must be a string" for key in wrong])
    return {key: given[key] or "" for key in _TEXTS if key in given}
