"""Makes, changes and removes indexes. Checks every permission and normalises every option.

Rules, option names and messages are devpi's where devpi has them.

A write requires that the data read before is unchanged. After a concurrent change it is repeated a few times, and then raises
`Conflict`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from concurrent.futures import Executor
from typing import Any, Final, Protocol

import msgspec
from msgspec import Struct

from pkgindex_core.changes import Change, DropIndex, IndexAbsent, IndexIs, PutIndex, PutUser, Requirement, UserAbsent
from pkgindex_core.clock import Clock
from pkgindex_core.errors import Conflict, Denied, Missing, Refused
from pkgindex_core.models import IndexConfig, Tree, User
from pkgindex_core.names import IndexName, owner, parse_index_name, parse_user_name
from pkgindex_core.protocols import Accounts, IndexWriter, Principal, Trees
from pkgindex_core.rules.access import allowed_index, denied, readable_tree, shown_user
from pkgindex_core.rules.index_options import IndexOptions
from pkgindex_core.rules.permissions import Action, permits
from pkgindex_core.tools.committing import until_committed
from pkgindex_core.tools.workers import in_worker

_TURNS: Final = 5


class OwnerLimits(Struct, frozen=True, kw_only=True):
    """Bounds of the indexes of one user. All configurations are in memory, and read again when one of them changes."""

    indexes: int = 1000
    option_bytes: int = 1024 * 1024
    """The options of all the user's indexes, as JSON."""


class _Store(Trees, Accounts, IndexWriter, Protocol): ...


class Indexes:
    """Changes indexes. Every method checks the permissions of `principal`."""

    def __init__(
        self,
        *,
        store: _Store,
        options: IndexOptions,
        workers: Executor,
        clock: Clock,
        limits: OwnerLimits = OwnerLimits(),  # noqa: B008 - a frozen value
    ) -> None:
        self._store = store
        self._options = options
        self._workers = workers
        self._clock = clock
        self._limits = limits

    async def check_new(self, raw: str, principal: Principal) -> list[PutUser]:
        """Raise the errors of making this index, before its options are known. Returns the user that must be made first, if any."""
        name = parse_index_name(raw)
        user = owner(name)
        first: list[PutUser] = []
        if principal.name == user and await self._store.user(user) is None:
            if not permits(principal, Action.USER_CREATE, user=user):
                raise Denied(f"no permission to create user {user}", anonymous=False)
            now = self._clock.now()
            first.append(PutUser(User(name=parse_user_name(user), created=now, modified=now)))
        else:
            shown_user(await self._store.tree(), user, await self._store.user(user), principal)
        self._may_create(await self._store.tree(), name, principal)
        return first

    async def create(self, raw: str, options: Mapping[str, Any], *, principal: Principal) -> IndexConfig:
        """Make an index. Options may be text, which is parsed.

        A principal of another authenticator without a user here gets one with its first index, if it may make users.
        """
        name = parse_index_name(raw)

        async def attempt(_: int) -> IndexConfig:
            first = await self.check_new(raw, principal)
            tree = await self._store.tree()
            seen = readable_tree(tree, principal)
            # Parsing long lists takes too long for the event loop.
            config = await in_worker(self._workers, self._options.made, name, options, seen)
            self.check_bounds(tree, config, None)
            absent: list[Requirement] = [IndexAbsent(name), *(UserAbsent(each.user.name) for each in first)]
            await self._store.apply([*first, PutIndex(config)], who=principal.label, require=absent)
            return config

        return await until_committed(attempt, turns=_TURNS)

    async def modify(
        self,
        name: IndexName,
        options: Mapping[str, Any] | Sequence[Any],
        *,
        principal: Principal,
        must_change: bool = False,
        beside: Callable[[], Awaitable[tuple[Sequence[Change], Sequence[Requirement]]]] | None = None,
    ) -> IndexConfig:
        """Change some options of an index: those of a mapping, or `key=value`, `key+=value`, `key-=value` and `key-=` in a list.

        `beside` returns further changes and requirements of the commit. It is called for each attempt.
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
                self.check_bounds(tree, changed, config)
                changes = (PutIndex(changed), *changes)
            await self._store.apply(changes, who=principal.label, require=[IndexIs(config), *require])
            return changed

        return await until_committed(attempt, turns=_TURNS)

    async def drafted(self, raw: str, options: Mapping[str, Any], *, principal: Principal, new: bool) -> IndexConfig:
        """The configuration that `create` (`new`) or `modify` would store, with their errors. Nothing is written."""
        name = parse_index_name(raw)
        if new:
            await self.check_new(raw, principal)
        tree = await self._store.tree()
        seen = readable_tree(tree, principal)
        if new:
            before = None
            config = await in_worker(self._workers, self._options.made, name, options, seen)
        else:
            before = allowed_index(tree, name, principal, Action.INDEX_MODIFY)
            config = await in_worker(self._workers, self._options.changed, before, options, seen)
        self.check_bounds(tree, config, before)
        return config

    async def delete(self, name: IndexName, *, principal: Principal) -> None:
        """Remove a volatile index with everything in it."""

        async def attempt(_: int) -> None:
            config = await self.check_deletion(name, principal)
            await self._store.apply([DropIndex(name)], who=principal.label, require=[IndexIs(config)])

        await until_committed(attempt, turns=_TURNS)

    async def check_deletion(self, name: IndexName, principal: Principal) -> IndexConfig:
        """Raise the errors of removing this index; return the index."""
        config = allowed_index(await self._store.tree(), name, principal, Action.INDEX_DELETE)
        if not config.volatile:
            raise Denied(
                f"index {name} non-volatile, cannot delete",
                anonymous=False,
                hint="make it volatile first: volatile=True",
            )
        return config

    async def config(self, name: IndexName) -> IndexConfig:
        """The configuration of an index. Raises `Missing`."""
        config = (await self._store.tree()).indexes.get(name)
        if config is None:
            raise Missing("index", name)
        return config

    def check_bounds(self, tree: Tree, config: IndexConfig, before: IndexConfig | None) -> None:
        """Refuse an index that takes its owner over a bound. Options that are over the bound already may shrink."""
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
        """Raise unless the principal may make an index. A principal that may see an existing index of this name gets that error first."""
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
