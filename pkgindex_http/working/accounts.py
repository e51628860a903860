"""Accounts on pages: tokens, passwords, users.

    GET  /{user}/+account    the tokens and log-ins of a user, and forms for a token and a password
    POST /{user}/+account    do=token | revoke | password
    GET  /+users             the users that the caller may see, and a form for a new one
    POST /+users             make a user
    POST /{user}/+delete     remove a user, whose name must be typed

Every form calls the service that the command line and devpi's client call.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any, Final

from pkgindex_core.clock import to_rfc3339
from pkgindex_core.errors import Denied, Missing, PkgIndexError, Refused
from pkgindex_core.formats.token_restrictions import ACTIONS, read_restrictions
from pkgindex_core.models import Token
from pkgindex_core.names import owner
from pkgindex_core.protocols import Credentials
from pkgindex_core.rules.access import denied, require_user_right
from pkgindex_core.rules.permissions import ROOT, Action, permits
from pkgindex_http.requests import Ask
from pkgindex_http.wire.replies import Reply
from pkgindex_http.working.forms import SentForm, form_page, read_form, seen_after

_MICROSECONDS: Final = 1_000_000
_DAY: Final = 86_400
_DAYS: Final = 365
_USUAL: Final = (Action.READ, Action.UPLOAD, Action.PUSH, Action.YANK, Action.DELETE)
"""The actions that the form for a token offers first."""


async def may_manage(ask: Ask) -> None:
    """Check the right to manage the account of the user in the URL."""
    require_user_right(ask.principal, Action.TOKEN_MANAGE, ask.values["user"])
    await ask.engine.overview.may_see(ask.values["user"], ask.principal)


async def account(ask: Ask) -> Reply:
    """The account of a user."""
    return await _account(ask)


async def change_account(ask: Ask) -> Reply:
    """Make or revoke a token, or set the password."""
    form = await read_form(ask)
    try:
        match form.text("do"):
            case "token":
                return await _account(ask, made=await _new_token(ask, form))
            case "revoke":
                await _revoke(ask, form.text("id"))
                return seen_after(ask, ask.values["user"], "+account", query="said=revoked")
            case "password":
                return await _new_password(ask, form)
        raise Refused("the form does not say what to do")
    except PkgIndexError as error:
        return await _account(ask, error=error, form=form)


async def users(ask: Ask) -> Reply:
    """The users."""
    return await _users(ask)


async def may_list(ask: Ask) -> None:
    """Check that the caller has credentials for the list of users."""
    decision = permits(ask.principal, Action.USER_LIST)
    if not decision:
        raise denied(ask.principal, decision.reason)


async def may_make(ask: Ask) -> None:
    """Check the right to make a user, whose name is in the form."""
    require_user_right(ask.principal, Action.USER_CREATE, "")


async def make_user(ask: Ask) -> Reply:
    """Make a user."""
    form = await read_form(ask)
    try:
        password = form.exact("password")
        if password != form.exact("again"):
            raise Refused("again: the two passwords differ", hint="type the same password twice")
        if not form.text("name"):
            raise Refused("name: a user needs a name")
        name = form.text("name")
        await ask.engine.users.create(name, password, principal=ask.principal, email=form.text("email"))
    except PkgIndexError as error:
        return await _users(ask, error=error, form=form)
    return seen_after(ask, "+users", query="said=made")


async def may_delete(ask: Ask) -> None:
    """Check the right to remove the user."""
    await ask.engine.users.check_deletion(ask.values["user"], ask.principal)


async def delete_user(ask: Ask) -> Reply:
    """Remove a user with their volatile indexes."""
    form = await read_form(ask)
    name = ask.values["user"]
    try:
        confirm(form, name)
        await ask.engine.users.delete(name, principal=ask.principal)
    except PkgIndexError as error:
        return await _users(ask, error=error)
    return seen_after(ask, "+users", query="said=deleted")


def confirm(form: SentForm, name: str) -> None:
    """Raise unless the form has this name, typed, which says that a person means it."""
    if form.text("confirm") != name:
        raise Refused(f"confirm: type {name} to delete it", hint="nothing was deleted")


async def _new_token(ask: Ask, form: SentForm) -> str:
    user = ask.values["user"]
    days = form.text("days") or str(_DAYS)
    if not days.isascii() or not days.isdigit() or len(days) > 4 or not 1 <= int(days) <= 3660:
        raise Refused("days: write a number from 1 to 3660")
    now = ask.engine.clock.now()
    document = {
        "allowed": list(form.words("actions")),
        "indexes": list(form.words("indexes")),
        "projects": list(form.words("projects")),
        "expires": now // _MICROSECONDS + int(days) * _DAY,
    }
    limits = read_restrictions(
        {key: value for key, value in document.items() if value}, now=now, unbounded=ask.principal.name == ROOT
    )
    text, _ = await ask.engine.tokens.make(
        user,
        who=ask.principal.label,
        name=form.text("name")[:100],
        seconds=limits.seconds,
        indexes=limits.indexes,
        projects=limits.projects,
        actions=limits.actions,
        newcomer=ask.principal.name == user,
    )
    return text


async def _revoke(ask: Ask, token_id: str) -> None:
    token = await ask.engine.store.token(token_id) if token_id else None
    if token is None or token.user != ask.values["user"]:
        raise Missing("token", token_id[:40])
    await ask.engine.tokens.revoke(token_id, who=ask.principal.label)


async def _new_password(ask: Ask, form: SentForm) -> Reply:
    password = form.exact("password")
    if password != form.exact("again"):
        raise Refused("again: the two passwords differ", hint="type the same password twice")
    user = ask.values["user"]
    if ask.principal.name == user and ask.session:
        # A stranger at an unlocked screen does not know the password.
        present = Credentials(username=user, secret=form.exact("present"))
        try:
            await ask.judged(present, partial(ask.engine.identity.identify, present))
        except Denied as error:
            raise Refused("present: this is not your present password", hint="nothing was changed") from error
    await ask.engine.users.modify(user, principal=ask.principal, password=password)
    return seen_after(ask, user, "+account", query="said=password")


async def _account(
    ask: Ask, *, error: PkgIndexError | None = None, form: SentForm | None = None, made: str = ""
) -> Reply:
    user = ask.values["user"]
    tokens = await ask.engine.store.tokens(user)
    now = ask.engine.clock.now()
    given = form if form is not None else SentForm({})
    return await form_page(
        ask,
        "working/account.html",
        error=error,
        fields=("name", "days", "indexes", "projects", "actions", "present", "password", "again"),
        account=user,
        tokens=[_told(token, now) for token in tokens if token.kind == "api"],
        log_ins=[_told(token, now) for token in tokens if token.kind != "api"],
        here=ask.principal.log_in,
        usual=_USUAL,
        others=[action for action in ACTIONS if action not in _USUAL],
        chosen=given.words("actions") if form is not None else (Action.READ, Action.UPLOAD),
        given={name: given.text(name) for name in ("name", "days", "indexes", "projects")},
        may_set_password=bool(permits(ask.principal, Action.PASSWORD_CHANGE, user=user)),
        asks_present=ask.principal.name == user and bool(ask.session),
        made=made,
        indexes=[
            {"name": name, "title": config.title[:100], "takes_files": not config.read_only}
            for name, config in sorted((await ask.engine.store.tree()).indexes.items())
            if owner(name) == user and permits(ask.principal, Action.READ, index=config)
        ],
        may_make_index=bool(permits(ask.principal, Action.INDEX_CREATE, user=user)),
        url=ask.url,
        said=ask.query("said") or "",
    )


def _told(token: Token, now: int) -> dict[str, Any]:
    limits: Sequence[tuple[str, Sequence[str]]] = (
        ("indexes", token.indexes),
        ("projects", token.projects),
        ("may", token.actions if set(token.actions) < set(ACTIONS) else ()),
    )
    return {
        "id": token.id,
        "name": token.name,
        "created": to_rfc3339(token.created)[:10],
        "expires": to_rfc3339(token.expires)[:10] if token.expires is not None else "never",
        "expired": token.expires is not None and token.expires <= now,
        "limits": "; ".join(f"{kind}: {', '.join(entries)}" for kind, entries in limits if entries),
    }


async def _users(ask: Ask, *, error: PkgIndexError | None = None, form: SentForm | None = None) -> Reply:
    documents = await ask.engine.overview.users(ask.principal)
    return await form_page(
        ask,
        "working/users.html",
        error=error,
        fields=("name", "password", "again", "email", "confirm"),
        users=[
            {
                "name": name,
                "email": document.get("email", ""),
                "created": document.get("created", "")[:10],
                "indexes": list(document["indexes"]),
                "manages": bool(permits(ask.principal, Action.TOKEN_MANAGE, user=name)),
                "deletes": bool(permits(ask.principal, Action.USER_DELETE, user=name)),
            }
            for name, document in documents.items()
        ],
        may_make=bool(permits(ask.principal, Action.USER_CREATE, user="")),
        given={name: form.text(name) if form is not None else "" for name in ("name", "email")},
        said=ask.query("said") or "",
    )
