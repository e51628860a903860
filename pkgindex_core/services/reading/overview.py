"""What users and indexes there are, as the one who asks may see them: devpi's documents, with less in them.

devpi shows everything to everybody. Here an index that one may not read is in no document, nor among the bases of one that inherits
from it, except for those who may change these; nor is a user whom one would know of by such indexes alone. Whoever may list users sees
the names of all. Mail address and custom data of a user are for that user and those who manage users; secrets are in no document
whoever asks.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Iterable
from typing import Any, Protocol

from pkgindex_core.clock import Timestamp, to_rfc3339
from pkgindex_core.models import IndexConfig, Tree, User
from pkgindex_core.names import IndexName, owner
from pkgindex_core.protocols import Accounts, Principal, Trees
from pkgindex_core.rules.access import allowed_index, shown_user
from pkgindex_core.rules.index_options import IndexOptions
from pkgindex_core.rules.permissions import Action, permits

_SECOND = 1_000_000
_AT_ONCE = 100


class _Store(Trees, Accounts, Protocol): ...


class Overview:
    """Makes documents of users and indexes, in devpi's terms."""

    def __init__(self, *, store: _Store, options: IndexOptions) -> None:
        self._store = store
        self._options = options

    async def users(self, principal: Principal) -> dict[str, dict[str, Any]]:
        """Every user whom the principal may see, with their indexes, by name."""
        tree = await self._store.tree()
        everybody = bool(permits(principal, Action.USER_LIST))
        owned: dict[str, list[IndexConfig]] = defaultdict(list)
        for name in sorted(tree.indexes):
            owned[owner(name)].append(tree.indexes[name])
        documents: dict[str, dict[str, Any]] = {}
        for count, user in enumerate(await self._store.users(), start=1):
            if not count % _AT_ONCE:
                await asyncio.sleep(0)  # thousands of users take a while, and others want something too
            readable = _readable(owned.get(user.name, ()), principal)
            if everybody or readable or permits(principal, Action.USER_READ, user=user.name):
                documents[user.name] = self._document(user, self._owned(readable, tree, principal), principal)
        return documents

    async def may_see(self, name: str, principal: Principal) -> User:
        """A user; one whom the principal may not see is `Missing`."""
        return shown_user(await self._store.tree(), name, await self._store.user(name), principal)

    async def user(self, name: str, principal: Principal) -> dict[str, Any]:
        """One user with their indexes. One whom the principal may not see is `Missing`."""
        user = await self.may_see(name, principal)
        tree = await self._store.tree()
        owned = [tree.indexes[index] for index in sorted(tree.indexes) if owner(index) == name]
        return self._document(user, self._owned(_readable(owned, principal), tree, principal), principal)

    async def index(self, name: IndexName, principal: Principal, *, of_devpi_7: bool = False) -> dict[str, Any]:
        """The options of one index, without its projects; perhaps under devpi 7's names."""
        tree = await self._store.tree()
        config = allowed_index(tree, name, principal, Action.READ, some_project=True)
        return self._shown(config, tree, principal, of_devpi_7=of_devpi_7)

    def options(self, config: IndexConfig, *, of_devpi_7: bool = False) -> dict[str, Any]:
        """The options of an index, for who has just made or changed it."""
        return self._options.document(config, of_devpi_7=of_devpi_7)

    def made(self, user: User) -> dict[str, Any]:
        """A user who was just made, for who made them and has said all of it."""
        return self._document(user, {}, Principal(name=user.name))

    def _owned(self, configs: Iterable[IndexConfig], tree: Tree, principal: Principal) -> dict[str, Any]:
        return {config.name.partition("/")[2]: self._shown(config, tree, principal) for config in configs}

    def _shown(
        self, config: IndexConfig, tree: Tree, principal: Principal, *, of_devpi_7: bool = False
    ) -> dict[str, Any]:
        """The options of an index that the principal may read."""
        document = self._options.document(config, of_devpi_7=of_devpi_7)
        if "bases" in document and not permits(principal, Action.INDEX_MODIFY, index=config):
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
    """A time as devpi writes it: in whole seconds. What was made before times were kept is of 1970, as there."""
    return to_rfc3339(Timestamp(at - at % _SECOND))


def _readable(configs: Iterable[IndexConfig], principal: Principal) -> list[IndexConfig]:
    """Those of some indexes that the principal may read."""
    return [config for config in configs if permits(principal, Action.READ, index=config, some_project=True)]
