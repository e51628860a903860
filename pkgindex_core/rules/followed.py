"""The part of a store that a principal may copy as a replica, and the commits of that part.

With the permission `changes` a replica gets everything. Otherwise it gets the indexes on which its principal has `follow`, in which nothing
is missing: a copy without a base that the original has would show other pages. So an index joins with all of its bases, or not at all.
Bases that everybody may read join without a permission of their own.

The commits of a part have the serials, times and authors of the original ones. Changes of other indexes are left out, and so are users,
tokens and secret options. The owner of each index is a user without a password.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from pkgindex_core.changes import (
    Change,
    Commit,
    DropIndex,
    DropToken,
    DropUser,
    PutIndex,
    PutToken,
    PutUser,
)
from pkgindex_core.models import IndexConfig, Tree, User
from pkgindex_core.names import IndexName, owner
from pkgindex_core.protocols import Principal
from pkgindex_core.rules.lineage import lineage
from pkgindex_core.rules.permissions import Action, as_for_files, permits

ELSEWHERE: Final = "[elsewhere]"
"""The author of a commit that changed nothing in the part."""
_PRIVATE: Final = "it has options that only a replica of everything may have"
_OUTSIDE: Final = "it inherits from an index that this principal may not copy"


class Followed(Struct, frozen=True, kw_only=True):
    """The indexes that a principal may copy."""

    indexes: frozenset[IndexName] = frozenset()
    left_out: Mapping[IndexName, str] = {}
    """Indexes on which the principal has the permission, and that are left out all the same, each with the reason in one sentence."""


def followed(
    tree: Tree, principal: Principal, *, without: Collection[IndexName] = (), private: Collection[IndexName] = ()
) -> Followed:
    """Decide which indexes a principal may copy. `without`: indexes that the replica does not want. `private`: indexes that have options
    which their readers may not see.
    """
    anonymous = Principal(house=principal.house)
    candidates = {name: config for name, config in tree.indexes.items() if name not in without and name not in private}
    left_out = {
        name: _PRIVATE
        for name in private
        if name not in without and permits(principal, Action.FOLLOW, index=tree.indexes[name])
    }
    granted = [name for name, config in candidates.items() if permits(principal, Action.FOLLOW, index=config)]
    may_join = {
        *granted,
        *(
            name
            for name, config in candidates.items()
            if permits(anonymous, Action.READ, index=config)
            and permits(anonymous, Action.READ, index=as_for_files(config))
        ),
    }
    joining: set[IndexName] = set()
    for name in granted:
        order = lineage(tree, name).order
        if may_join.issuperset(order):
            joining.update(order)
        else:
            left_out[name] = _OUTSIDE
    return Followed(indexes=frozenset(joining), left_out=left_out)


def part_of(
    commit: Commit, indexes: Collection[IndexName], *, without_secrets: Callable[[IndexConfig], IndexConfig]
) -> Commit:
    """The commit as far as it is about these indexes."""
    changes = tuple(each for change in commit.changes for each in _parts(change, indexes, without_secrets))
    return replace(commit, who=commit.who if changes else ELSEWHERE, changes=changes)


def _parts(
    change: Change, indexes: Collection[IndexName], without_secrets: Callable[[IndexConfig], IndexConfig]
) -> Iterator[Change]:
    match change:
        case PutUser() | DropUser() | PutToken() | DropToken():
            return
        case PutIndex(config):
            if config.name in indexes:
                yield PutUser(User(name=owner(config.name)))
                yield PutIndex(without_secrets(config))
        case DropIndex(name):
            if name in indexes:
                yield change
        case _:
            if change.index in indexes:
                yield change
