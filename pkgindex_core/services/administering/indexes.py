"""Indexes: made, changed and removed, with every right checked and every option normalised.

The rules are devpi's where devpi has the thing; the option names and the sentences too. Nothing here speaks HTTP or prints.

What was read before a write is a requirement of the write; when somebody else was faster, it is read and decided anew a few times,
and then told as the `Conflict` it is.
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
    """How much the indexes of one user may be. All of it is in memory, and read when anything of it changes."""

    indexes: int = 1000
    option_bytes: int = 1024 * 1024
    """The options of all of them, as JSON."""


class _Store(Trees, Accounts, IndexWriter, Protocol): ...


class Indexes:
    """Changes to indexes. `principal` is who asks; every method checks the right it needs."""

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
            shown_user(await self._store.tree(), user, await self._store.user(user), principal)
        self._may_create(await self._store.tree(), name, principal)
        return first

    async def create(self, raw: str, options: Mapping[str, Any], *, principal: Principal) -> IndexConfig:
        """Make an index from options as a person writes them (text is parsed).

        Whoever logs in through another authenticator and has no user here yet gets one with the first index, where making users is
        open to them.
        """
        name = parse_index_name(raw)

        async def attempt(_: int) -> IndexConfig:
            first = await self.check_new(raw, principal)
            tree = await self._store.tree()
            seen = readable_tree(tree, principal)
            # Long lists take a while to read, and others wait for this loop.
            config = await in_worker(self._workers, self._options.made, name, options, seen)
            self._bounded(tree, config, None)
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

    async def delete(self, name: IndexName, *, principal: Principal) -> None:
        """Remove an index with all that is in it; only a volatile one."""

        async def attempt(_: int) -> None:
            config = await self.check_deletion(name, principal)
            await self._store.apply([DropIndex(name)], who=principal.label, require=[IndexIs(config)])

        await until_committed(attempt, turns=_TURNS)

    async def check_deletion(self, name: IndexName, principal: Principal) -> IndexConfig:
        """Raise what removing this index would raise; return it."""
        config = allowed_index(await self._store.tree(), name, principal, Action.INDEX_DELETE)
        if not config.volatile:
            raise Denied(
                f"index {name} non-volatile, cannot delete",
                anonymous=False,
                hint="make it volatile first: volatile=True",
            )
        return config

    async def config(self, name: IndexName) -> IndexConfig:
        """An index's configuration, or `Missing`."""
        config = (await self._store.tree()).indexes.get(name)
        if config is None:
            raise Missing("index", name)
        return config

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
