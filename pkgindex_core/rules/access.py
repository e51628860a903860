"""From a decision to what the asking person is told, in one place.

Without credentials: that credentials are needed, and nothing else. With credentials but without the right to read an index: that
there is no such index, in the words that a missing one has. With the right to read but not to do the thing: the reason.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from msgspec.structs import replace

from pkgindex_core.errors import Denied, Missing, ReadOnly
from pkgindex_core.models import ARCHIVED, QUARANTINED, IndexConfig, Standing, Tree, User
from pkgindex_core.names import IndexName, ProjectName, owner
from pkgindex_core.protocols import Principal
from pkgindex_core.rules.permissions import Action, permits

NEEDS_CREDENTIALS: Final = "this needs credentials"
_CLOSED_STATUSES = frozenset({ARCHIVED, QUARANTINED})


def allowed_index(
    tree: Tree,
    name: IndexName,
    principal: Principal,
    action: Action,
    *,
    also: Sequence[Action] = (),
    project: ProjectName | None = None,
    some_project: bool = False,
) -> IndexConfig:
    """The configuration of an index to which the principal may do this (`some_project`: see `permits`).

    `also` are actions of which one will do instead, for who does not know yet what is wanted; whoever asks so asks again.
    """
    config = tree.indexes.get(name)
    if config is None:
        raise Missing("index", name)
    if any(permits(principal, each, index=config, project=project, some_project=some_project) for each in also):
        return config
    decision = permits(principal, action, index=config, project=project, some_project=some_project)
    if decision.allowed:
        return config
    if principal.name is not None:
        if not permits(principal, Action.READ, index=config, some_project=True).allowed:
            raise Missing("index", name)
        if action is Action.READ and project is not None:
            raise Missing("project", project)
    raise denied(principal, decision.reason)


def hosted_index(
    tree: Tree,
    name: IndexName,
    principal: Principal,
    action: Action,
    *,
    project: ProjectName | None = None,
    some_project: bool = False,
) -> IndexConfig:
    """The same for an index that has files of its own."""
    config = allowed_index(tree, name, principal, action, project=project, some_project=some_project)
    return _with_own_files(config, hint="a mirror takes no uploads: upload to an index that inherits from it")


def publishing_index(
    tree: Tree,
    name: IndexName,
    principal: Principal,
    action: Action,
    *,
    also: Sequence[Action] = (),
    project: ProjectName | None = None,
    some_project: bool = False,
) -> IndexConfig:
    """The same for an index that is to be given something."""
    config = allowed_index(tree, name, principal, action, also=also, project=project, some_project=some_project)
    return _with_own_files(
        config,
        message=f"cannot submit to mirror index {name}",
        hint="upload to an index that inherits from it",
    )


def deletable_index(
    tree: Tree,
    name: IndexName,
    principal: Principal,
    *,
    project: ProjectName | None = None,
) -> IndexConfig:
    """An index from which the principal may delete, a mirror too; `project` None asks before it is known."""
    config = allowed_index(tree, name, principal, Action.DELETE, project=project, some_project=project is None)
    return config if config.mirrored else _with_own_files(config)


def _with_own_files(config: IndexConfig, *, message: str = "", hint: str = "") -> IndexConfig:
    """The configuration, unless it is a mirror's or of a type that takes nothing."""
    if config.mirrored:
        raise Missing("hosted index", config.name, message=message, hint=hint)
    if config.read_only:
        raise ReadOnly(config.name, config.type)
    return config


def open_project(standing: Standing, project: ProjectName, what: str = "uploads") -> None:
    """Refuse to add anything to a project that its owner has closed (PEP 792)."""
    if standing.status in _CLOSED_STATUSES:
        raise Denied(
            f"the project {project} is {standing.status} and takes no {what}",
            anonymous=False,
            hint=f"an administrator reopens it with: pkgindex-serve mark {project} active",
        )


def require_user_right(principal: Principal, action: Action, user: str) -> None:
    """Let a principal do something to a user, or say why not."""
    decision = permits(principal, action, user=user)
    if not decision.allowed:
        raise denied(principal, decision.reason)


def readable_tree(tree: Tree, principal: Principal) -> Tree:
    """The indexes that a principal may read, as if there were no others.

    Who makes an index names its bases out of these: one that inherits from a hidden index would tell of it, by being possible and
    by which projects of a mirror it then keeps back.
    """
    indexes = {
        name: config
        for name, config in tree.indexes.items()
        if permits(principal, Action.READ, index=config, some_project=True)
    }
    return replace(tree, indexes=indexes)


def shown_user(tree: Tree, name: str, user: User | None, principal: Principal) -> User:
    """The user of this name; `Missing` if there is none, or the principal may not know of it."""
    if user is None or not _is_visible(tree, name, principal):
        raise Missing("user", name[:160])
    return user


def _is_visible(tree: Tree, name: str, principal: Principal) -> bool:
    """Whether a principal may know that there is a user of this name: by listing users, or by an index that they may read."""
    if permits(principal, Action.USER_READ, user=name) or permits(principal, Action.USER_LIST):
        return True
    return any(
        permits(principal, Action.READ, index=config, some_project=True)
        for index, config in tree.indexes.items()
        if owner(index) == name
    )


def denied(principal: Principal, reason: str) -> Denied:
    """The refusal that fits the principal."""
    if principal.name is None:
        return Denied(
            NEEDS_CREDENTIALS,
            anonymous=True,
            hint="give a user name and password, or a token as the password of the user __token__",
        )
    return Denied(reason, anonymous=False)
