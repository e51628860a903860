"""Users, as devpi's client makes, changes, shows and removes them.

    GET    /           every user that one may see, with their indexes (a page for people, unless JSON is asked for)
    GET    /{user}     one of them
    PUT    /{user}     {"password": …, "email": …, "title": …, "description": …, "custom_data": …}
    PATCH  /{user}     the same, or the whole document changed and sent back; a new password answers with a new log-in
    DELETE /{user}

A whole document comes back with keys that nobody can change (`created`, `indexes` …): they are passed over, and when a user is changed
so is what nobody knows, as in devpi. A value that is empty takes the old one away.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from pkgindex_core.errors import Denied, Refused
from pkgindex_http.bodies import read_json
from pkgindex_http.devpi.envelope import document, said
from pkgindex_http.replies import Reply
from pkgindex_http.requests import Ask

_TEXTS: Final = ("email", "title", "description")
_CHANGEABLE: Final = frozenset({*_TEXTS, "custom_data", "password"})
_PASSED_OVER: Final = frozenset({"username", "indexes", "created", "modified"})


async def list_users(ask: Ask) -> Reply:
    """Every user whom one may see."""
    return document(await ask.engine.overview.users(ask.principal), "list:userconfig")


async def may_show(ask: Ask) -> None:
    """A user whom one may not see is missing."""
    ask.insist()
    await ask.engine.overview.may_see(ask.values["user"], ask.principal)


async def show(ask: Ask) -> Reply:
    """One user with their indexes."""
    return document(await ask.engine.overview.user(ask.values["user"], ask.principal), "userconfig")


async def may_create(ask: Ask) -> None:
    """Before the body is asked for."""
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
    """Before it is known what is to change: a password, or something else."""
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
        # Changed again before we could log in with it.
        return said("user updated")
    return document({"password": token, "expiration": seconds}, "userpassword", message="user updated, new proxy auth")


async def may_delete(ask: Ask) -> None:
    """A user who owns what is not volatile stays."""
    await ask.engine.users.check_deletion(ask.values["user"], ask.principal)


async def delete(ask: Ask) -> Reply:
    """Remove a user with their volatile indexes."""
    name = ask.values["user"]
    await ask.engine.users.delete(name, principal=ask.principal)
    return said(f"user {name!r} deleted")


def _password(given: Mapping[str, Any]) -> str | None:
    password = given.get("password")
    if password is not None and not isinstance(password, str):
        raise Refused("the password is not a text")
    return password


def _texts(given: Mapping[str, Any]) -> dict[str, str]:
    """The texts of a user that were given; what is empty, null or false takes the old one away."""
    wrong = [key for key in _TEXTS if given.get(key) and not isinstance(given[key], str)]
    if wrong:
        raise Refused([f"{key} is not a text" for key in wrong])
    return {key: given[key] or "" for key in _TEXTS if key in given}
