"""Users and indexes: made, changed and removed, with every right checked and every value normalised.

The rules are devpi's where devpi has the thing; the option names too. Nothing here speaks HTTP or prints.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec
from msgspec.structs import replace

from pkgindex_core.changes import (
    Change,
    DropIndex,
    DropToken,
    DropUser,
    IndexAbsent,
    IndexIs,
    ProjectAt,
    PutIndex,
    PutProject,
    PutUser,
    UserAbsent,
    UserIs,
)
from pkgindex_core.clock import Clock
from pkgindex_core.errors import Denied, Missing, Refused
from pkgindex_core.models import ANONYMOUS, AUTHENTICATED, IndexConfig, User
from pkgindex_core.names import IndexName, ProjectName, owner, parse_index_name, parse_project_name, parse_user_name
from pkgindex_core.protocols import IndexStore, Principal
from pkgindex_core.rules.permissions import Action
from pkgindex_core.services.access import allowed_index, require_user_right
from pkgindex_core.services.passwords import PasswordPool
from pkgindex_core.spelling import suggestion
from pkgindex_core.urls import without_credentials

ROOT: Final = "root"
PASSWORD_FILE: Final = "root-password"  # noqa: S105 - the name of a file
"""In the data directory: the generated password of `root`, until somebody changes it."""
STATUSES: Final = ("active", "archived", "deprecated", "quarantined")

_STAGE_OPTIONS = {
    "bases",
    "volatile",
    "acl_read",
    "acl_upload",
    "mirror_whitelist",
    "mirror_whitelist_inheritance",
    "title",
    "description",
    "custom_data",
}
_MIRROR_OPTIONS = {"volatile", "acl_read", "mirror_url", "mirror_cache_expiry", "title", "description", "custom_data"}


class Administration:
    """Changes to users and indexes. `principal` is who asks; every method checks the right it needs."""

    def __init__(self, *, store: IndexStore, passwords: PasswordPool, clock: Clock) -> None:
        self._store = store
        self._passwords = passwords
        self._clock = clock

    async def create_user(self, name: str, password: str, *, principal: Principal, email: str = "") -> User:
        """Make a user. A name that is taken is a `Conflict`."""
        parse_user_name(name)
        require_user_right(principal, Action.USER_CREATE, name)
        now = self._clock.now()
        user = User(
            name=name, password_hash=await self._passwords.hash(password), email=email, created=now, modified=now
        )
        await self._store.apply([PutUser(user)], who=principal.label, require=[UserAbsent(name)])
        return user

    async def modify_user(
        self, name: str, *, principal: Principal, password: str | None = None, email: str | None = None
    ) -> User:
        """Change a user's password or address."""
        before = user = await self._user(name)
        require_user_right(principal, Action.USER_MODIFY, name)
        if password is not None:
            require_user_right(principal, Action.PASSWORD_CHANGE, name)
            user = replace(user, password_hash=await self._passwords.hash(password))
        if email is not None:
            user = replace(user, email=email)
        user = replace(user, modified=self._clock.now())
        # A new password ends every log-in that the old one bought. API tokens stay: they were made to outlive it.
        ended: list[Change] = []
        if password is not None:
            ended = [DropToken(token.id) for token in await self._store.tokens(name) if token.kind == "login"]
        await self._store.apply([PutUser(user), *ended], who=principal.label, require=[UserIs(before)])
        return user

    async def delete_user(self, name: str, *, principal: Principal) -> None:
        """Remove a user with its volatile indexes and tokens; one that owns a non-volatile index stays."""
        await self._user(name)
        require_user_right(principal, Action.USER_DELETE, name)
        tree = await self._store.tree()
        owned = [config for index, config in sorted(tree.indexes.items()) if owner(index) == name]
        kept = [config.name for config in owned if not config.volatile]
        if kept:
            raise Denied(
                f"user {name!r} has non-volatile index: {', '.join(kept)}",
                anonymous=False,
                hint="make the index volatile first if it is really to go",
            )
        changes: list[Change] = [DropIndex(config.name) for config in owned]
        await self._store.apply([*changes, DropUser(name)], who=principal.label)

    async def create_index(self, raw: str, options: Mapping[str, Any], *, principal: Principal) -> IndexConfig:
        """Make an index from options as a person writes them (text is parsed)."""
        name = parse_index_name(raw)
        await self._user(owner(name))
        require_user_right(principal, Action.INDEX_CREATE, owner(name))
        kind = str(options.get("type", "stage"))
        if kind not in {"stage", "mirror"}:
            raise Refused(f"unknown index type {kind!r}", hint="the types are stage and mirror")
        fresh = IndexConfig(
            name=name, type=kind, volatile=kind == "stage", acl_upload=(owner(name),) if kind == "stage" else ()
        )
        config = await self._with_options(fresh, {key: value for key, value in options.items() if key != "type"})
        if kind == "mirror" and not config.mirror_url:
            raise Refused(f"the mirror {name} has no mirror_url", hint="give mirror_url=https://…/simple/")
        await self._store.apply([PutIndex(config)], who=principal.label, require=[IndexAbsent(name)])
        return config

    async def modify_index(self, name: IndexName, options: Mapping[str, Any], *, principal: Principal) -> IndexConfig:
        """Change some options of an index."""
        config = allowed_index(await self._store.tree(), name, principal, Action.INDEX_MODIFY)
        if str(options.get("type", config.type)) != config.type:
            raise Refused(f"the type of {name} is {config.type} and can never change", hint="make another index")
        changed = await self._with_options(config, {key: value for key, value in options.items() if key != "type"})
        await self._store.apply([PutIndex(changed)], who=principal.label, require=[IndexIs(config)])
        return changed

    async def delete_index(self, name: IndexName, *, principal: Principal) -> None:
        """Remove an index with all that is in it; only a volatile one."""
        config = allowed_index(await self._store.tree(), name, principal, Action.INDEX_DELETE)
        if not config.volatile:
            raise Denied(
                f"index {name} non-volatile, cannot delete",
                anonymous=False,
                hint="make it volatile first: volatile=True",
            )
        await self._store.apply([DropIndex(name)], who=principal.label)

    async def set_status(
        self, index: IndexName, project: ProjectName, status: str, reason: str = "", *, principal: Principal
    ) -> None:
        """Mark a project as active, archived, deprecated or quarantined (PEP 792)."""
        config = allowed_index(await self._store.tree(), index, principal, Action.MARK, project=project)
        if status not in STATUSES:
            raise Refused(f"unknown project status {status!r}", hint=f"the markers are {', '.join(STATUSES)}")
        page = await self._store.page(index, project)
        if page is None or config.is_mirror:
            raise Missing("project", project, hint=f"only projects that are hosted in {index} can be marked there")
        head = replace(page.head, status=status, status_reason=reason)
        same = ProjectAt(index, project, page.stamp)
        await self._store.apply([PutProject(index, project, head)], who=principal.label, require=[same])

    async def index(self, name: IndexName) -> IndexConfig:
        """An index's configuration, or `Missing`."""
        config = (await self._store.tree()).indexes.get(name)
        if config is None:
            raise Missing("index", name)
        return config

    async def _user(self, name: str) -> User:
        user = await self._store.user(name)
        if user is None:
            raise Missing("user", name)
        return user

    async def _with_options(self, config: IndexConfig, options: Mapping[str, Any]) -> IndexConfig:
        known = _MIRROR_OPTIONS if config.is_mirror else _STAGE_OPTIONS
        problems: list[str] = []
        values: dict[str, Any] = {}
        for key, value in options.items():
            if key not in known:
                problems.append(f"unknown option {key!r} for an index of type {config.type}; {suggestion(key, known)}")
                continue
            try:
                values[key] = _parse_option(key, value)
            except Refused as error:
                problems.extend(error.problems)
        tree = await self._store.tree()
        problems.extend(
            f"base index {base!r} does not exist"
            for base in values.get("bases", ())
            if base not in tree.indexes and base != config.name
        )
        if problems:
            raise Refused(problems)
        if "mirror_url" in values:
            values["mirror_url"], values["mirror_credentials"] = without_credentials(values["mirror_url"])
        return replace(config, **values)


def parse_options(pairs: Sequence[str]) -> dict[str, str]:
    """Read `key=value` words of a command line."""
    options: dict[str, str] = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals or not key:
            raise Refused(f"cannot read the option {pair!r}", hint="write key=value, for example bases=root/pypi")
        options[key] = value
    return options


def _parse_option(key: str, value: Any) -> Any:
    """Turn one option, text or JSON, into the type the configuration has for it."""
    if key == "bases":
        return tuple(parse_index_name(each) for each in _words(value))
    if key in {"acl_read", "acl_upload"}:
        return tuple(_parse_principal(each) for each in _words(value))
    if key == "mirror_whitelist":
        return tuple(each if each == "*" else parse_project_name(each) for each in _words(value))
    if key == "mirror_whitelist_inheritance":
        if value not in {"intersection", "union"}:
            raise Refused(f"mirror_whitelist_inheritance is {value!r}; it is intersection or union")
        return value
    if key == "volatile":
        return _parse_boolean(key, value)
    if key == "mirror_cache_expiry":
        try:
            seconds = int(value)
        except (TypeError, ValueError):
            seconds = -1
        if seconds < 0:
            raise Refused(f"mirror_cache_expiry is {value!r}; it is a number of seconds, 0 or more")
        return seconds
    if key == "mirror_url":
        text = str(value)
        if not text.startswith(("https://", "http://")):
            raise Refused(f"mirror_url is {text[:200]!r}; it begins with https:// or http://")
        return text if text.endswith("/") else f"{text}/"
    if key == "custom_data":
        return msgspec.to_builtins(value)
    return str(value)


def _words(value: Any) -> list[str]:
    """A list option is a list, or text with commas (devpi's clients send text)."""
    words = value.split(",") if isinstance(value, str) else value
    if not isinstance(words, list | tuple):
        raise Refused(f"expected a list, not {value!r}")
    return [str(word).strip() for word in words if str(word).strip()]


def _parse_principal(raw: str) -> str:
    if raw.upper() in {ANONYMOUS, AUTHENTICATED}:
        return raw.upper()
    if raw.startswith(":"):
        parse_user_name(raw[1:])
        return raw
    return parse_user_name(raw)


def _parse_boolean(key: str, value: Any) -> bool:
    if isinstance(value, bool):
        return value
    text = str(value).lower()
    if text in {"true", "yes", "1", "on"}:
        return True
    if text in {"false", "no", "0", "off"}:
        return False
    raise Refused(f"{key} is {value!r}; it is true or false")
