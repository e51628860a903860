"""Users and indexes: made, changed and removed, with every right checked and every value normalised.

The rules are devpi's where devpi has the thing; the option names and the sentences too. Nothing here speaks HTTP or prints.

What was read before a write is a requirement of the write; when somebody else was faster, it is read and decided anew a few times,
and then told as the `Conflict` it is. A user whom the principal may not see is missing, in the words that fit a missing one.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from concurrent.futures import Executor
from typing import Any, Final

import msgspec
from msgspec import UNSET, Struct, UnsetType
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
    Requirement,
    UserAbsent,
    UserIs,
)
from pkgindex_core.clock import Clock
from pkgindex_core.errors import Conflict, Denied, Missing, Refused, RequirementFailed
from pkgindex_core.models import IndexConfig, Tree, User
from pkgindex_core.names import IndexName, ProjectName, owner, parse_index_name, parse_user_name
from pkgindex_core.protocols import IndexStore, Passwords, Principal
from pkgindex_core.rules import option_values
from pkgindex_core.rules.access import (
    allowed_index,
    denied,
    readable_tree,
    require_user_right,
    visible_user,
)
from pkgindex_core.rules.index_options import IndexOptions
from pkgindex_core.rules.permissions import Action, permits
from pkgindex_core.tools.committing import until_committed
from pkgindex_core.tools.workers import in_worker

ROOT: Final = "root"
PASSWORD_FILE: Final = "root-password"  # noqa: S105 - the name of a file
"""In the data directory: the generated password of `root`, until somebody changes it."""
STATUSES: Final = ("active", "archived", "deprecated", "quarantined")
_TURNS: Final = 5


class OwnerLimits(Struct, frozen=True, kw_only=True):
    """How much the indexes of one user may be. All of it is in memory, and read when anything of it changes."""

    indexes: int = 1000
    option_bytes: int = 1024 * 1024
    """The options of all of them, as JSON."""


class Administration:
    """Changes to users and indexes. `principal` is who asks; every method checks the right it needs."""

    def __init__(
        self,
        *,
        store: IndexStore,
        passwords: Passwords,
        options: IndexOptions,
        workers: Executor,
        clock: Clock,
        empty_passwords: bool = False,
        limits: OwnerLimits = OwnerLimits(),  # noqa: B008 - a frozen value
    ) -> None:
        self._store = store
        self._passwords = passwords
        self._options = options
        self._workers = workers
        self._clock = clock
        self._empty_passwords = empty_passwords
        self._limits = limits

    async def check_new_user(self, name: str, principal: Principal) -> None:
        """Raise what making this user would raise, before it is known what the user is to be."""
        require_user_right(principal, Action.USER_CREATE, name)
        parse_user_name(name)
        if await self._store.user(name) is not None:
            raise Conflict("user already exists")

    async def create_user(
        self,
        name: str,
        password: str,
        *,
        principal: Principal,
        email: str = "",
        title: str = "",
        description: str = "",
        custom_data: Any = None,
    ) -> User:
        """Make a user. A name that is taken is a `Conflict`."""
        await self.check_new_user(name, principal)
        now = self._clock.now()
        user = User(
            name=name,
            password_hash=await self._passwords.hash(password, may_be_empty=self._empty_passwords),
            email=option_values.text(email),
            title=option_values.text(title),
            description=option_values.text(description),
            custom_data=option_values.anything(custom_data),
            created=now,
            modified=now,
        )
        try:
            await self._store.apply([PutUser(user)], who=principal.label, require=[UserAbsent(name)])
        except RequirementFailed as error:
            raise Conflict("user already exists") from error
        return user

    async def modify_user(
        self,
        name: str,
        *,
        principal: Principal,
        password: str | None = None,
        email: str | UnsetType = UNSET,
        title: str | UnsetType = UNSET,
        description: str | UnsetType = UNSET,
        custom_data: Any = UNSET,
    ) -> User:
        """Change a user's password or details. Who writes all back and changes nothing but the password needs no other right."""
        given = {"email": email, "title": title, "description": description}
        details = {key: option_values.text(value) for key, value in given.items() if value is not UNSET}
        if custom_data is not UNSET:
            details["custom_data"] = option_values.anything(custom_data)
        hashed: list[str] = []

        async def attempt(_: int) -> User:
            before = await self._visible_user(name, principal)
            user = replace(before, **details)
            if (
                password is not None
            ):  # at first: the details that are equal to what somebody has guessed are not to make a difference
                require_user_right(principal, Action.PASSWORD_CHANGE, name)
            if password is None or user != before:
                require_user_right(principal, Action.USER_MODIFY, name)
            ended: list[Change] = []
            if password is not None:
                if not hashed:
                    hashed.append(await self._passwords.hash(password, may_be_empty=self._empty_passwords))
                user = replace(user, password_hash=hashed[0])
                # A new password ends every log-in that the old one bought, but for the one by which it is changed. API tokens stay:
                # they were made to outlive it.
                tokens = await self._store.tokens(name)
                ended = [DropToken(one.id) for one in tokens if one.kind == "login" and one.id != principal.log_in]
            if user == before:
                return before
            user = replace(user, modified=self._clock.now())
            await self._store.apply([PutUser(user), *ended], who=principal.label, require=[UserIs(before)])
            return user

        # Missing: a log-in that has just ended by itself.
        return await until_committed(attempt, upon=(RequirementFailed, Missing), turns=_TURNS)

    async def delete_user(self, name: str, *, principal: Principal) -> None:
        """Remove a user with its volatile indexes and tokens; one that owns a non-volatile index stays."""

        async def attempt(_: int) -> None:
            owned = await self.check_user_deletion(name, principal)
            changes: list[Change] = [DropIndex(config.name) for config in owned]
            same = [IndexIs(config) for config in owned]
            await self._store.apply([*changes, DropUser(name)], who=principal.label, require=same)

        await until_committed(
            attempt, upon=Conflict, turns=_TURNS
        )  # an index that was made meanwhile stands in the way of `DropUser`

    async def check_user_change(self, name: str, principal: Principal) -> None:
        """Raise what changing this user would raise, before it is known what is to change: a password, or something else."""
        await self._visible_user(name, principal)
        if not permits(principal, Action.PASSWORD_CHANGE, user=name):
            require_user_right(principal, Action.USER_MODIFY, name)

    async def check_user_deletion(self, name: str, principal: Principal) -> list[IndexConfig]:
        """Raise what removing this user would raise; return the indexes that go along."""
        await self._visible_user(name, principal)
        require_user_right(principal, Action.USER_DELETE, name)
        tree = await self._store.tree()
        owned = [config for index, config in sorted(tree.indexes.items()) if owner(index) == name]
        kept = [config.name.partition("/")[2] for config in owned if not config.volatile]
        if kept:
            raise Denied(
                f"user {name!r} has non-volatile index: {', '.join(kept)}",
                anonymous=False,
                hint="make the index volatile first if it is really to go",
            )
        return owned

    async def check_new_index(self, raw: str, principal: Principal) -> list[PutUser]:
        """Raise what making this index would raise, before its options are known; return the user who has to be made first, if any."""
        name = parse_index_name(raw)
        user = owner(name)
        first: list[PutUser] = []
        if principal.name == user and await self._store.user(user) is None:
            if not permits(principal, Action.USER_CREATE, user=user):
                raise Denied(f"no permission to create user {user}", anonymous=False)
            now = self._clock.now()
            first.append(PutUser(User(name=parse_user_name(user), created=now, modified=now)))
        else:
            await self._visible_user(user, principal)
        self._may_create(await self._store.tree(), name, principal)
        return first

    async def create_index(self, raw: str, options: Mapping[str, Any], *, principal: Principal) -> IndexConfig:
        """Make an index from options as a person writes them (text is parsed).

        Whoever logs in through another authenticator and has no user here yet gets one with the first index, where making users is
        open to them.
        """
        name = parse_index_name(raw)

        async def attempt(_: int) -> IndexConfig:
            first = await self.check_new_index(raw, principal)
            tree = await self._store.tree()
            seen = readable_tree(tree, principal)
            # Long lists take a while to read, and others wait for this loop.
            config = await in_worker(self._workers, self._options.made, name, options, seen)
            self._bounded(tree, config, None)
            absent: list[Requirement] = [IndexAbsent(name), *(UserAbsent(each.user.name) for each in first)]
            await self._store.apply([*first, PutIndex(config)], who=principal.label, require=absent)
            return config

        return await until_committed(attempt, turns=_TURNS)

    async def modify_index(
        self,
        name: IndexName,
        options: Mapping[str, Any] | Sequence[Any],
        *,
        principal: Principal,
        must_change: bool = False,
        beside: Callable[[], Awaitable[tuple[Sequence[Change], Sequence[Requirement]]]] | None = None,
    ) -> IndexConfig:
        """Change some options of an index: those of a mapping, or `key=value`, `key+=value`, `key-=value` and `key-=` in a list.

        `beside` tells what else goes into the commit, under which conditions; it is asked again for each attempt.
        """

        async def attempt(_: int) -> IndexConfig:
            tree = await self._store.tree()
            config = allowed_index(tree, name, principal, Action.INDEX_MODIFY)
            seen = readable_tree(tree, principal)
            if isinstance(options, Mapping):
                changed = await in_worker(self._workers, self._options.changed, config, options, seen)
            else:
                changed = await in_worker(self._workers, self._options.patched, config, options, seen)
            changes, require = await beside() if beside is not None else ((), ())
            if changed == config and not changes:
                if must_change:
                    raise Refused("The requested modifications resulted in no changes")
                return config
            if changed != config:
                self._bounded(tree, changed, config)
                changes = (PutIndex(changed), *changes)
            await self._store.apply(changes, who=principal.label, require=[IndexIs(config), *require])
            return changed

        return await until_committed(attempt, turns=_TURNS)

    async def delete_index(self, name: IndexName, *, principal: Principal) -> None:
        """Remove an index with all that is in it; only a volatile one."""

        async def attempt(_: int) -> None:
            config = await self.check_index_deletion(name, principal)
            await self._store.apply([DropIndex(name)], who=principal.label, require=[IndexIs(config)])

        await until_committed(attempt, turns=_TURNS)

    async def check_index_deletion(self, name: IndexName, principal: Principal) -> IndexConfig:
        """Raise what removing this index would raise; return it."""
        config = allowed_index(await self._store.tree(), name, principal, Action.INDEX_DELETE)
        if not config.volatile:
            raise Denied(
                f"index {name} non-volatile, cannot delete",
                anonymous=False,
                hint="make it volatile first: volatile=True",
            )
        return config

    async def set_status(
        self, index: IndexName, project: ProjectName, status: str, reason: str = "", *, principal: Principal
    ) -> None:
        """Mark a project as active, archived, deprecated or quarantined (PEP 792)."""
        config = allowed_index(await self._store.tree(), index, principal, Action.MARK, project=project)
        if status not in STATUSES:
            raise Refused(f"unknown project status {status!r}", hint=f"the markers are {', '.join(STATUSES)}")
        page = await self._store.page(index, project)
        if page is None or config.mirrored:
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

    async def _visible_user(self, name: str, principal: Principal) -> User:
        user = await self._store.user(name)
        if user is None or not visible_user(await self._store.tree(), name, principal):
            raise Missing("user", name[:160])
        return user

    def _bounded(self, tree: Tree, config: IndexConfig, before: IndexConfig | None) -> None:
        """Refuse an index that makes its owner's too many, or too large together. What is over the bound already may shrink."""
        user = owner(config.name)
        others = [each for name, each in tree.indexes.items() if owner(name) == user and name != config.name]
        if before is None and len(others) >= self._limits.indexes:
            raise Refused(
                f"the user {user} has {len(others)} indexes; {self._limits.indexes} are possible",
                hint="delete one first; the administrator's setting is max_user_indexes",
            )
        size = _size(config)
        together = size + sum(_size(each) for each in others)
        if together > self._limits.option_bytes and (before is None or size >= _size(before)):
            raise Refused(
                f"the options of all indexes of {user} would take {together} bytes; {self._limits.option_bytes} are possible",
                hint="shorten lists and texts, here or of another index; the administrator's setting is max_user_option_bytes",
            )

    def _may_create(self, tree: Tree, name: IndexName, principal: Principal) -> None:
        """Let a principal make an index; who may see that there is one already hears that first."""
        there = tree.indexes.get(name)
        if there is not None and permits(principal, Action.READ, index=there, some_project=True):
            raise Conflict(f"index {name!r} exists")
        decision = permits(principal, Action.INDEX_CREATE, index=IndexConfig(name=name))
        if not decision.allowed:
            hint = denied(principal, "").hint or decision.reason
            raise Denied(f"no permission to create index {name}", anonymous=principal.name is None, hint=hint)
        if there is not None:
            raise Conflict(f"index {name!r} exists")


def _size(config: IndexConfig) -> int:
    return len(msgspec.json.encode(config))


def parse_options(pairs: Sequence[str]) -> dict[str, str]:
    """Read `key=value` words of a command line."""
    options: dict[str, str] = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals or not key:
            raise Refused(f"cannot read the option {pair!r}", hint="write key=value, for example bases=root/pypi")
        options[key] = value
    return options
