"""Makes the index of a mirror for a run, or takes an existing one over: from then on it has what runs bring, and nothing else.

What earlier runs knew is forgotten when an index was made anew, or served as a read-through since: its pages may be others. Stored files
are found again by their digests. Until the end of the next run the list of its projects counts as unknown, and not as a short one.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Protocol

from pkgindex_core.changes import Change, IndexAbsent, IndexIs, MirrorNames, PutIndex, Requirement
from pkgindex_core.errors import Missing, Refused
from pkgindex_core.failpoints import failpoint
from pkgindex_core.models import IndexConfig
from pkgindex_core.names import IndexName, owner
from pkgindex_core.protocols import PARTIAL, Accounts, Projects, Trees
from pkgindex_core.rules.index_options import DROP, IndexOptions
from pkgindex_core.rules.kept_options import mirror_options
from pkgindex_core.tools.committing import until_committed
from pkgindex_core.urls import without_credentials
from pkgindex_mirror import urls
from pkgindex_mirror.engine_target.committing import WHO
from pkgindex_mirror.engine_target.sync_notes import SyncNotes
from pkgindex_mirror.engine_target.turns import RunTurn
from pkgindex_mirror.file_policies import OPTION as POLICIES
from pkgindex_mirror.file_policies import FilePolicies, policies_of, read_rules
from pkgindex_mirror.synced_indexes import SHOWS, SYNCED, is_synced

_TYPE: Final = "mirror"


class _Store(Trees, Accounts, Projects, Protocol): ...


class Preparing:
    """`upstream`: the URL of the simple index, perhaps with `user:password@`. `policies`: those that the index is to have. `is_mirror`: whether an index has the source of mirrors."""

    def __init__(
        self,
        store: _Store,
        options: IndexOptions,
        notes: SyncNotes,
        *,
        upstream: str,
        policies: FilePolicies,
        is_mirror: Callable[[IndexConfig], bool],
        turn: RunTurn,
    ) -> None:
        self._store = store
        self._options = options
        self._notes = notes
        self._upstream = upstream
        self._policies = FilePolicies(read_rules(policies.written))
        self._is_mirror = is_mirror
        self._turn = turn

    async def prepared(self, name: IndexName) -> IndexConfig:
        """The index, made or changed so that a run can write it. Raises `Refused` for an index that is no mirror of this upstream."""
        return await until_committed(lambda _: self._attempt(name), f"the index {name} changes too fast")

    async def _attempt(self, name: IndexName) -> IndexConfig:
        tree = await self._store.tree()
        config = tree.indexes.get(name)
        if config is None:
            if await self._store.user(owner(name)) is None:
                raise Missing("user", owner(name), hint=f"make the user first, or name an index of another one: {name}")
            given: dict[str, object] = {"type": _TYPE, "mirror_url": self._upstream, SYNCED: True}
            if self._policies.written:
                given[POLICIES] = self._policies.written
            return await self._apply(self._options.made(name, given, tree), IndexAbsent(name), forget=True)
        if not self._is_mirror(config):
            raise Refused(
                f"{name} is an index of type {config.type}", hint="name an index of type mirror, or a new one"
            )
        if SHOWS in config.options:
            raise Refused(f"{name} shows snapshots of another index", hint="name that index, or a new one")
        is_other = not same_place(mirror_options(config).url, self._upstream)
        if is_other and await self._store.project_count(name):
            raise Refused(
                f"{name} has pages of {urls.shown(mirror_options(config).url)}, and the configuration names"
                f" {urls.shown(self._upstream)}",
                hint="correct master, or name another index",
            )
        wanted: dict[str, object] = {} if is_synced(config) else {SYNCED: True}
        if policies_of(config) != self._policies:
            wanted[POLICIES] = self._policies.written or DROP
        credentials = without_credentials(self._upstream)[1]
        if is_other or (credentials and credentials != mirror_options(config).credentials):
            wanted["mirror_url"] = self._upstream
        if not wanted:
            return config
        changed = self._options.changed(config, wanted, tree)
        return await self._apply(changed, IndexIs(config), forget=is_other or not is_synced(config))

    async def _apply(self, config: IndexConfig, require: Requirement, *, forget: bool) -> IndexConfig:
        self._turn.check()
        changes: list[Change] = [PutIndex(config)]
        if forget:
            await self._notes.forget_everything()
            failpoint("index.forgotten")
            changes.append(MirrorNames(config.name, validators={PARTIAL: "1"}))
        await self._turn.apply(changes, who=WHO, require=(require,))
        failpoint("index.taken_over")
        return config


def same_place(one: str, other: str) -> bool:
    """Whether two URLs of simple indexes are the same, but for credentials and the slash at the end."""
    first, second = urls.cleaned(one), urls.cleaned(other)
    return first is not None and second is not None and urls.with_slash(first) == urls.with_slash(second)
