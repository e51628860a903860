"""`pkgindex-serve user` and `token`."""

from __future__ import annotations

import sys
import warnings
from getpass import GetPassWarning
from pathlib import Path
from typing import Any

import click

from pkgindex_core.clock import Timestamp, to_rfc3339
from pkgindex_core.commands.helping import group
from pkgindex_core.commands.telling import print_json, talk
from pkgindex_core.composition.data_directory import PASSWORD_FILE
from pkgindex_core.config import Settings
from pkgindex_core.errors import Missing, Refused
from pkgindex_core.models import Token, User
from pkgindex_core.protocols import Credentials
from pkgindex_core.rules.permissions import DELEGABLE
from pkgindex_http.commands.common import ADMINISTRATOR, asynchronous, opened, settings_options


@group()
def user() -> None:
    """Make, change, list and remove users."""


@user.command("create")
@settings_options
@click.argument("name")
@click.option("--email", default="", help="Address of the user.")
@click.option("--password-stdin", is_flag=True, help="Read the password from standard input instead of asking.")
@asynchronous
async def create_user(name: str, email: str, password_stdin: bool, settings: Settings) -> None:
    """Make a user."""
    password = _read_password(password_stdin)
    async with opened(settings) as engine:
        await engine.users.create(name, password, principal=ADMINISTRATOR, email=email)
    talk(f"user {name} created")


@user.command("password")
@settings_options
@click.argument("name")
@click.option("--password-stdin", is_flag=True, help="Read the password from standard input instead of asking.")
@asynchronous
async def change_password(name: str, password_stdin: bool, settings: Settings) -> None:
    """Change the password of a user. The old one stops working at once."""
    password = _read_password(password_stdin)
    async with opened(settings) as engine:
        await engine.users.modify(name, principal=ADMINISTRATOR, password=password)
        generated = Path(engine.settings.data) / PASSWORD_FILE
    talk(f"password of {name} changed")
    if name == ADMINISTRATOR.name and generated.exists():
        generated.unlink()
        talk(f"{generated} had the generated password and was removed")


@user.command("delete")
@settings_options
@click.argument("name")
@asynchronous
async def delete_user(name: str, settings: Settings) -> None:
    """Remove a user with its tokens and volatile indexes."""
    async with opened(settings) as engine:
        await engine.users.delete(name, principal=ADMINISTRATOR)
    talk(f"user {name} deleted")


@user.command("list")
@settings_options
@click.option("--json", "as_json", is_flag=True, help="Print a JSON document.")
@asynchronous
async def list_users(as_json: bool, settings: Settings) -> None:
    """List users."""
    async with opened(settings) as engine:
        users = await engine.store.users()
    if as_json:
        print_json([_user_document(each) for each in users])
    else:
        for each in users:
            click.echo(f"{each.name}\t{each.email}" if each.email else each.name)


@user.command("check")
@settings_options
@click.argument("name")
@click.option("--password-stdin", is_flag=True, help="Read the password from standard input instead of asking.")
@asynchronous
async def check_user(name: str, password_stdin: bool, settings: Settings) -> None:
    """Check a password as the server does, with the LDAP directory if there is one, and print the groups of the user."""
    password = _read_password(password_stdin, confirm=False)
    async with opened(settings) as engine:
        principal = await engine.identity.identify(Credentials(username=name, secret=password))
    talk(f"the log-in of {principal.label} works; groups: {', '.join(principal.groups) or 'none'}")


@group()
def token() -> None:
    """Make, list and revoke API tokens."""


@token.command("create")
@settings_options
@click.argument("user")
@click.option("--name", default="", help="A name that says what the token is for.")
@click.option("--days", type=click.IntRange(1, 3650), default=365, show_default=True, help="Days until it expires.")
@click.option("--index", "indexes", multiple=True, help="Limit it to these indexes (pattern); repeatable.")
@click.option("--project", "projects", multiple=True, help="Limit it to these projects (pattern); repeatable.")
@click.option("--action", "actions", multiple=True, help="Limit it to these actions, such as upload; repeatable.")
@asynchronous
async def create_token(
    user: str,
    name: str,
    days: int,
    indexes: tuple[str, ...],
    projects: tuple[str, ...],
    actions: tuple[str, ...],
    settings: Settings,
) -> None:
    """Make a token and print it. Use it as the password of the user __token__. It cannot be printed again."""
    unknown = [action for action in actions if action not in DELEGABLE]
    if unknown:
        raise Refused(f"unknown actions: {', '.join(unknown)}", hint=f"use {', '.join(DELEGABLE)}")
    async with opened(settings) as engine:
        if await engine.store.user(user) is None:
            raise Missing("user", user)
        text, made = await engine.tokens.make(
            user,
            who=ADMINISTRATOR.label,
            name=name,
            seconds=days * 86_400,
            indexes=indexes,
            projects=projects,
            actions=actions or DELEGABLE,
        )
    talk(f"token {made.id} of {user}, valid until {_moment(made.expires)}; it is not shown again:")
    click.echo(text)


@token.command("list")
@settings_options
@click.argument("user")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON document.")
@asynchronous
async def list_tokens(user: str, as_json: bool, settings: Settings) -> None:
    """List the tokens and log-ins of a user."""
    async with opened(settings) as engine:
        if await engine.store.user(user) is None:
            raise Missing("user", user)
        tokens = await engine.store.tokens(user)
    if as_json:
        print_json([_token_document(each) for each in tokens])
        return
    for each in tokens:
        click.echo(f"{each.id}\t{each.kind}\t{_moment(each.expires)}\t{_limits(each)}\t{each.name}")


@token.command("revoke")
@settings_options
@click.argument("token_id")
@asynchronous
async def revoke_token(token_id: str, settings: Settings) -> None:
    """Revoke a token. It stops working at once, on all servers of the store."""
    async with opened(settings) as engine:
        await engine.tokens.revoke(token_id, who=ADMINISTRATOR.label)
    talk(f"token {token_id} revoked")


def _read_password(from_stdin: bool, *, confirm: bool = True) -> str:
    if from_stdin:
        return sys.stdin.readline().rstrip("\r\n")
    with warnings.catch_warnings():
        warnings.simplefilter("error", GetPassWarning)
        try:
            return str(click.prompt("Password", hide_input=True, confirmation_prompt=confirm, err=True))
        except GetPassWarning as error:
            raise Refused(
                "there is no terminal to ask for the password", hint="pipe it in, with --password-stdin"
            ) from error


def _user_document(each: User) -> dict[str, Any]:
    return {"name": each.name, "email": each.email, "created": to_rfc3339(each.created)}


def _limits(each: Token) -> str:
    """The limits of a token; "all" if it has none."""
    actions = () if set(each.actions) >= set(DELEGABLE) else each.actions
    kinds = {"indexes": each.indexes, "projects": each.projects, "actions": actions}
    return " ".join(f"{kind}={','.join(limits)}" for kind, limits in kinds.items() if limits) or "all"


def _token_document(each: Token) -> dict[str, Any]:
    return {
        "id": each.id,
        "name": each.name,
        "kind": each.kind,
        "created": to_rfc3339(each.created),
        "expires": _moment(each.expires),
        "indexes": each.indexes,
        "projects": each.projects,
        "actions": each.actions,
    }


def _moment(moment: Timestamp | None) -> str:
    return to_rfc3339(moment) if moment is not None else "never"
