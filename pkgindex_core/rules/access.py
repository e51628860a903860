"""Turns decisions of `permissions` into errors.

* A client without credentials learns only that credentials are needed.
* A principal that may not read an index gets the error of a missing index.
* A principal that may read it, but not do the thing, gets the reason.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from msgspec.structs import replace

from pkgindex_core.errors import Denied, Missing, ReadOnly
from pkgindex_core.models import ARCHIVED, QUARANTINED, IndexConfig, Standing, Tree, User
from pkgindex_core.names import IndexName, ProjectName, owner
from pkgindex_core.protocols import Principal
from pkgindex_core.rules.permissions import Action, as_for_files, permits

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
    files: bool = False,
) -> IndexConfig:
    """The configuration of an index on which the principal may do `action` (`some_project`: see `permits`).

    One of the actions in `also` is enough instead, when the action is not known yet. Call again when it is known.
    With `files` it is done to files of the index, which may have other readers (`as_for_files`).
    """
    config = tree.indexes.get(name)
    if config is None:
        raise Missing("index", name)
    judged = as_for_files(config) if files else config
    if any(permits(principal, each, index=judged, project=project, some_project=some_project) for each in also):
        return config
    decision = permits(principal, action, index=judged, project=project, some_project=some_project)
    if decision.allowed:
        return config
    if principal.name is not None:
        if not permits(principal, Action.READ, index=config, some_project=True).allowed:
            raise Missing("index", name)
        if action is Action.READ and project is not None and judged is config:
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
    """The same, for an index that has files of its own."""
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
    """The same, for an index that takes uploads."""
    config = allowed_index(tree, name, principal, action, also=also, project=project, some_project=some_project)
    return _with_own_files(
        config,
        message=f"cannot submit to {config.type} index {name}",
        hint="upload to an index that inherits from it",
    )


def deletable_index(
    tree: Tree,
    name: IndexName,
    principal: Principal,
    *,
    project: ProjectName | None = None,
) -> IndexConfig:
    """An index from which the principal may delete; also a mirror. `project` None: the project is not known yet."""
    config = allowed_index(tree, name, principal, Action.DELETE, project=project, some_project=project is None)
    return config if config.mirrored else _with_own_files(config)


def _with_own_files(config: IndexConfig, *, message: str = "", hint: str = "") -> IndexConfig:
    """Refuse a mirror, and an index of a type that takes no uploads."""
    if config.mirrored:
        raise Missing("hosted index", config.name, message=message, hint=hint)
    if config.read_only:
        raise ReadOnly(config.name, config.type)
    return config


def open_project(standing: Standing, project: ProjectName, what: str = "uploads") -> None:
    """Refuse additions to a project that is archived or quarantined (PEP 792)."""
    if standing.status in _CLOSED_STATUSES:
        raise Denied(
            f"the project {project} is {standing.status} and takes no {what}",
            anonymous=False,
            hint=f"an administrator reopens it with: pkgindex-serve mark {project} active",
        )


def require_user_right(principal: Principal, action: Action, user: str) -> None:
    """Raise unless the principal may do this to the user."""
    decision = permits(principal, action, user=user)
    if not decision.allowed:
        raise denied(principal, decision.reason)


def readable_tree(tree: Tree, principal: Principal) -> Tree:
    """The indexes that a principal may read, without the others.

    The bases of a new index must be among them. Otherwise an index could inherit from a hidden one and reveal it: by being possible,
    and by the projects of a mirror that it then leaves out.
    """
    indexes = {
        name: config
        for name, config in tree.indexes.items()
        if permits(principal, Action.READ, index=config, some_project=True)
    }
    return replace(tree, indexes=indexes)


def shown_user(tree: Tree, name: str, user: User | None, principal: Principal) -> User:
    """The user of this name; `Missing` if there is none, or if it is hidden from the principal."""
    if user is None or not _is_visible(tree, name, principal):
        raise Missing("user", name[:160])
    return user


def _is_visible(tree: Tree, name: str, principal: Principal) -> bool:
    """Whether a principal may know of a user: it may list users, or read an index of the user."""
    if permits(principal, Action.USER_READ, user=name) or permits(principal, Action.USER_LIST):
        return True
    return any(
        permits(principal, Action.READ, index=config, some_project=True)
        for index, config in tree.indexes.items()
        if owner(index) == name
    )


def denied(principal: Principal, reason: str) -> Denied:
    """The error for a principal; without credentials it says only that they are needed."""
    if principal.name is None:
        return Denied(
            NEEDS_CREDENTIALS,
            anonymous=True,
            hint="give a user name and password, or a token as the password of the user __token__",
        )
    return Denied(reason, anonymous=False)
