"""Documents of users and indexes in devpi's form, limited to what the principal may see.

devpi shows everything to everyone. Here:

* An unreadable index is in no document. It is among the bases of another index only for principals that may change those.
* A user is hidden from a principal that may neither list users nor read one of the user's indexes.
* Mail address and custom data are shown to the user and to managers of users only.
* Options that are private, such as paths of this machine, are shown to principals that may change the index.
* Secrets are never shown.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Iterable
from typing import Any, Protocol

from pkgindex_core.clock import Timestamp, to_rfc3339
from pkgindex_core.models import IndexConfig, Tree, User
from pkgindex_core.names import IndexName, owner
from pkgindex_core.protocols import Accounts, Principal, Projects, Trees
from pkgindex_core.rules.access import allowed_index, shown_user
from pkgindex_core.rules.index_options import STORED_BYTES, IndexOptions
from pkgindex_core.rules.kept_options import quotas
from pkgindex_core.rules.permissions import Action, permits

_SECOND = 1_000_000
_AT_ONCE = 100


class _Store(Trees, Projects, Accounts, Protocol): ...


class Overview:
    """Makes documents of users and indexes, in devpi's terms."""

    def __init__(self, *, store: _Store, options: IndexOptions) -> None:
        self._store = store
        self._options = options

    async def users(self, principal: Principal) -> dict[str, dict[str, Any]]:
        """All visible users with their indexes, by name."""
        tree = await self._store.tree()
        everybody = bool(permits(principal, Action.USER_LIST))
        owned: dict[str, list[IndexConfig]] = defaultdict(list)
        for name in sorted(tree.indexes):
            owned[owner(name)].append(tree.indexes[name])
        documents: dict[str, dict[str, Any]] = {}
        for count, user in enumerate(await self._store.users(), start=1):
            if not count % _AT_ONCE:
                await asyncio.sleep(0)  # thousands of users take a while; let other requests run
            readable = _readable(owned.get(user.name, ()), principal)
            if everybody or readable or permits(principal, Action.USER_READ, user=user.name):
                documents[user.name] = self._document(user, self._owned(readable, tree, principal), principal)
        return documents

    async def may_see(self, name: str, principal: Principal) -> User:
        """A user. Raises `Missing` for a hidden one."""
        return shown_user(await self._store.tree(), name, await self._store.user(name), principal)

    async def user(self, name: str, principal: Principal) -> dict[str, Any]:
        """One user with its indexes. Raises `Missing` for a hidden one."""
        user = await self.may_see(name, principal)
        tree = await self._store.tree()
        owned = [tree.indexes[index] for index in sorted(tree.indexes) if owner(index) == name]
        return self._document(user, self._owned(_readable(owned, principal), tree, principal), principal)

    async def index(self, name: IndexName, principal: Principal, *, of_devpi_7: bool = False) -> dict[str, Any]:
        """The options of one index, under devpi 6's or devpi 7's names."""
        tree = await self._store.tree()
        config = allowed_index(tree, name, principal, Action.READ, some_project=True)
        shown = self._shown(config, tree, principal, of_devpi_7=of_devpi_7)
        return {**shown, **await self.use(config)}

    async def use(self, config: IndexConfig) -> dict[str, Any]:
        """The bytes of all files of an index with quotas, for its document."""
        return {STORED_BYTES: await self._store.stored_bytes(config.name)} if quotas(config).bounds else {}

    def options(self, config: IndexConfig, *, of_devpi_7: bool = False) -> dict[str, Any]:
        """The options of an index, for a client that has just made or changed it."""
        return self._options.document(config, of_devpi_7=of_devpi_7)

    def made(self, user: User) -> dict[str, Any]:
        """The document of a user, for the client that has just made it."""
        return self._document(user, {}, Principal(name=user.name))

    def _owned(self, configs: Iterable[IndexConfig], tree: Tree, principal: Principal) -> dict[str, Any]:
        return {config.name.partition("/")[2]: self._shown(config, tree, principal) for config in configs}

    def _shown(
        self, config: IndexConfig, tree: Tree, principal: Principal, *, of_devpi_7: bool = False
    ) -> dict[str, Any]:
        """The options of an index that the principal may read."""
        may_modify = bool(permits(principal, Action.INDEX_MODIFY, index=config))
        document = self._options.document(config, of_devpi_7=of_devpi_7, private=may_modify)
        if "bases" in document and not may_modify:
            named = [(base, tree.indexes.get(base)) for base in config.bases]
            document["bases"] = [
                base
                for base, there in named
                if there is None or permits(principal, Action.READ, index=there, some_project=True)
            ]
        return document

    def _document(self, user: User, indexes: dict[str, Any], principal: Principal) -> dict[str, Any]:
        document: dict[str, Any] = {
            "username": user.name,
            "created": moment(user.created),
            "modified": moment(user.modified) if user.modified > user.created else "",
            "title": user.title,
            "description": user.description,
        }
        if permits(principal, Action.USER_READ, user=user.name):
            document |= {"email": user.email, "custom_data": user.custom_data}
        shown = {key: value for key, value in document.items() if value not in ("", None)}
        return {**shown, "indexes": indexes}


def moment(at: Timestamp) -> str:
    """A time as devpi writes it: in whole seconds. A missing time is 1970, as in devpi."""
    return to_rfc3339(Timestamp(at - at % _SECOND))


def _readable(configs: Iterable[IndexConfig], principal: Principal) -> list[IndexConfig]:
    """The readable ones of some indexes."""
    return [config for config in configs if permits(principal, Action.READ, index=config, some_project=True)]
