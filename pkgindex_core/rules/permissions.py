"""The permissions of a principal: one function for the whole product.

The rules are those of devpi-server 6.20.3, without its defaults that are unsafe on an open network:

* Anonymous clients write nothing, except uploads to an index whose `acl_upload` names `:ANONYMOUS:`, and test results to
  an index whose `acl_toxresult_upload` does. Deleting and yanking ignore those entries.
* Only root creates users, unless registration is open. If a directory or a proxy authenticates people too, open
  registration is limited to a user's own name.
* The principals in `acl_toxresult_upload` may add test results if they may read the index. In devpi every index is readable.

As in devpi, an owner may upload when `acl_upload` is empty; otherwise only the principals in it may. root may not
upload files or test results, so that a stolen root password does not silently publish. root may edit the list, which
is logged.

An index may have other readers for its files than for its pages (`acl_download`, see `as_for_files`). A push takes files to
another index, so it needs the right to see the pages and the right to fetch the files. So does the copy of an index by a replica.

With `restrict_modify` (`HouseRules`), the named principals manage users and indexes in place of root and of owners. Other users
keep their own password and tokens. `admin` and `changes` stay root's. But as in devpi the named principals set every password
and make tokens for every user, so that they can become root. An index of an unknown type can only be read and deleted.

The token of a trusted publisher may upload to the index that names the publisher, whatever `acl_upload` says. It is limited to
that index, to uploads and to the projects of the publisher.

A token limits its user's permissions (`TokenScope`), with one exception: a limited token may read whatever anonymous
clients may read. Otherwise an installer with a token for `team/dev` could not fetch the files that `team/dev` shows from a
public mirror. A limited token manages no tokens and changes no password, even if its actions name that. The token of a
log-in has no limits, and an API token without limits gets the `DELEGABLE` ones.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from enum import StrEnum
from fnmatch import fnmatchcase

from msgspec import Struct
from msgspec.structs import replace

from pkgindex_core.models import ANONYMOUS, AUTHENTICATED, IndexConfig, Token
from pkgindex_core.names import IndexName, ProjectName, owner
from pkgindex_core.protocols.identity import Principal, TokenScope

ROOT = "root"


class Action(StrEnum):
    """Everything that needs a permission. Tokens and configuration use the values."""

    # about an index, mostly about a project in it
    READ = "read"
    """Pages, lists, files, sidecars, metadata and documentation of an index, and its configuration."""
    EXPLAIN = "explain"
    UPLOAD = "upload"
    """Add files. Reusing a filename depends on the index's `volatile`, not on a permission."""
    UPLOAD_DOCS = "upload-docs"
    UPLOAD_RESULTS = "upload-results"
    """Add test results to a release."""
    PUSH = "push"
    """Push a release from an index; the target index needs `upload`."""
    FOLLOW = "follow"
    """Copy an index with its files, as a replica does. Needs credentials, and the rights to see the pages and to fetch the files."""
    DELETE = "delete"
    """Delete files, versions or projects."""
    YANK = "yank"
    MARK = "mark"
    """Set a project's status (PEP 792)."""
    REFRESH = "refresh"
    """Ask a mirror's upstream before its pages expire. devpi's client does so without credentials, so everyone who may read may do it."""
    INDEX_CREATE = "index-create"
    INDEX_MODIFY = "index-modify"
    INDEX_DELETE = "index-delete"
    # about a user
    USER_CREATE = "user-create"
    USER_READ = "user-read"
    """See a user's details, such as the mail address."""
    USER_MODIFY = "user-modify"
    """Change a user's details. A new password needs `password-change` as well."""
    USER_DELETE = "user-delete"
    PASSWORD_CHANGE = "password-change"  # noqa: S105  # the name of an action
    TOKEN_MANAGE = "token-manage"  # noqa: S105  # the name of an action
    # about the server
    USER_LIST = "user-list"
    """List the users. Listing indexes needs only `read` of each."""
    STATUS = "status"
    METRICS = "metrics"
    CHANGES = "changes"
    """Copy everything as a replica does: all commits, with private indexes, password hashes and credentials of upstreams, and all files."""
    ADMIN = "admin"
    """Backup, housekeeping, import, export, quarantine."""


_READS = frozenset({Action.READ, Action.EXPLAIN, Action.REFRESH})
_PUBLISHES = frozenset({Action.UPLOAD, Action.UPLOAD_DOCS})
_MAINTAINS = frozenset({Action.DELETE, Action.YANK, Action.MARK})
_READS_WITH_CREDENTIALS = frozenset({Action.PUSH, Action.FOLLOW})
_CONFIGURES = frozenset({Action.INDEX_MODIFY, Action.INDEX_DELETE})
_OWN = frozenset({Action.USER_READ, Action.PASSWORD_CHANGE, Action.TOKEN_MANAGE})
"""The actions that users may always do on themselves."""
_PERSONAL = _OWN | {Action.USER_MODIFY}

_WITHIN_INDEX = _READS | _PUBLISHES | _MAINTAINS | _READS_WITH_CREDENTIALS | {Action.UPLOAD_RESULTS}
_ABOUT_ONE_INDEX = _WITHIN_INDEX | _CONFIGURES
_WITHOUT_ITS_TYPE = _READS | _READS_WITH_CREDENTIALS | {Action.INDEX_DELETE}
"""The actions on an index of an unknown type."""
ABOUT_AN_INDEX = _ABOUT_ONE_INDEX | {Action.INDEX_CREATE}
"""Actions that need `index=`; `index-create` may have the future owner as `user=` instead."""
ABOUT_A_USER = _PERSONAL | {Action.USER_DELETE}
"""Actions that need `user=`."""

UNDELEGABLE = frozenset({Action.PASSWORD_CHANGE, Action.TOKEN_MANAGE})
DELEGABLE: tuple[str, ...] = tuple(sorted(frozenset(Action) - UNDELEGABLE))
"""The actions of an API token that was made without limits: all that a token can have."""

_OPEN_TO_ALL = _READS | {Action.STATUS}


class Decision(Struct, frozen=True):
    """Whether an action is allowed, with a reason: one sentence that tells nothing hidden from the principal."""

    allowed: bool
    reason: str

    def __bool__(self) -> bool:
        return self.allowed


def scope_of(token: Token) -> TokenScope:
    """The limits of an API token. Even one without limits manages no tokens and changes no password; only a log-in does."""
    return TokenScope(
        token_id=token.id,
        indexes=token.indexes,
        projects=token.projects,
        actions=token.actions or DELEGABLE,
        publisher=token.publisher,
        stamp=token.stamp,
    )


def permits(
    principal: Principal,
    action: Action,
    *,
    index: IndexConfig | None = None,
    user: str | None = None,
    project: ProjectName | None = None,
    some_project: bool = False,
) -> Decision:
    """Decide whether a principal may do something to an index (or a project in it), a user, or the server.

    `some_project`: the project is not known yet; the decision is whether the action can be allowed for any project. Decide again
    with the project. Raises ValueError when the `index=` or `user=` of the action is missing, which is a bug.
    """
    if (action in ABOUT_A_USER and user is None) or (index is None and action in _ABOUT_ONE_INDEX):
        raise ValueError(f"permits({action.value!r}) needs to know what it is about")
    decision = _base(principal, action, index, user)
    scope = principal.scope
    if not decision.allowed or scope is None:
        return decision
    objection = _objection(scope, action, index, project, some_project=some_project)
    if objection is None:
        return decision
    if action in _OPEN_TO_ALL and _base(Principal(house=principal.house), action, index, user).allowed:
        return Decision(True, "open to everybody, beyond the limits of the token")
    return Decision(False, objection)


def as_for_files(index: IndexConfig) -> IndexConfig:
    """An index as `READ` of its files is judged: with `acl_download` in the place of `acl_read`, where it is set."""
    listed = index.options.get("acl_download")
    return index if listed is None else replace(index, acl_read=tuple(listed))


def _base(principal: Principal, action: Action, index: IndexConfig | None, user: str | None) -> Decision:
    """The decision without the limits of a token."""
    if index is not None and action in _ABOUT_ONE_INDEX and not _is_known(principal, index, action):
        return Decision(
            False, f"{index.name} is of the type {index.type!r}, which no plugin here provides: it can only be read"
        )
    if index is not None and action in _WITHIN_INDEX:
        return _within_index(principal, action, index)
    if action in _CONFIGURES or action is Action.INDEX_CREATE:
        return _managed(principal, action, owner(index.name) if index else user)
    if action is Action.USER_CREATE:
        return _registered(principal, user)
    if action is Action.USER_DELETE:
        return _removed(principal, user)
    if action in ABOUT_A_USER:
        return _only(principal, action, user) if action in _OWN else _managed(principal, action, user)
    if action is Action.STATUS:
        return Decision(True, "open to everybody")
    if action in {Action.USER_LIST, Action.METRICS}:
        if principal.name is not None:
            return Decision(True, "open to everybody with credentials")
        return Decision(False, f"{action.value} needs credentials")
    return _only_root(principal, action)


def _is_known(principal: Principal, index: IndexConfig, action: Action) -> bool:
    known = principal.house.index_types
    return known is None or index.type in known or action in _WITHOUT_ITS_TYPE


def _within_index(principal: Principal, action: Action, index: IndexConfig) -> Decision:
    owns = principal.name is not None and principal.name == owner(index.name)
    manages = _manages(principal)
    readable = owns or manages or _listed(principal, index.acl_read)
    if action in _PUBLISHES:
        if principal.scope is not None and principal.scope.publisher:
            # The index itself named the publisher; the limits of the token are that index and its projects.
            return Decision(True, f"{principal.label} may {action.value} on {index.name}: it is a trusted publisher")
        if index.acl_upload:
            allowed, source = _listed(principal, index.acl_upload), "acl_upload"
        else:
            allowed, source = owns, "acl_upload, which is empty and leaves it to the owner,"
        return _decision(allowed, principal, action, index.name, source)
    if action is Action.UPLOAD_RESULTS:
        allowed = readable and _listed(principal, index.acl_toxresult_upload)
        return _decision(allowed, principal, action, index.name, "acl_toxresult_upload")
    if action in _MAINTAINS:
        maintainers = [entry for entry in index.acl_upload if _special(entry) != ANONYMOUS]
        maintains = manages or (owns and principal.house.restrict_modify is None)
        allowed = maintains or (principal.name is not None and _listed(principal, maintainers))
        return _decision(allowed, principal, action, index.name, "acl_upload")
    if action in _READS_WITH_CREDENTIALS and principal.name is None:
        return Decision(False, f"{action.value} on {index.name} needs credentials")
    if action in _READS_WITH_CREDENTIALS and readable:
        fetches = owns or manages or _listed(principal, as_for_files(index).acl_read)
        return _decision(fetches, principal, action, index.name, "acl_download")
    return _decision(readable, principal, action, index.name, "acl_read")


def _manages(principal: Principal) -> bool:
    """Whether the principal manages users and indexes: root, or the principals in `restrict_modify`."""
    named = principal.house.restrict_modify
    if named is None:
        return principal.name == ROOT
    return principal.name is not None and _listed(principal, named)


def _managed(principal: Principal, action: Action, user: str | None) -> Decision:
    """Decide an action for a user and the managers; with `restrict_modify` for the managers only."""
    if principal.house.restrict_modify is None:
        return _only(principal, action, user)
    if _manages(principal):
        return Decision(True, f"{principal.label} may {action.value}: restrict_modify names them")
    return Decision(False, f"{principal.label} may not {action.value}: restrict_modify does not name them")


def _registered(principal: Principal, user: str | None) -> Decision:
    house = principal.house
    # Otherwise a client could take the name of a person in the directory that has not logged in here yet.
    own = principal.name is not None and principal.name == user
    if house.restrict_modify is None and house.open_registration and (own or not house.names_from_elsewhere):
        return Decision(True, "registration is open to everybody")
    return _managed(principal, Action.USER_CREATE, None)


def _removed(principal: Principal, user: str | None) -> Decision:
    if user == ROOT:
        return Decision(False, "the user root cannot be deleted")
    if principal.house.restrict_modify is not None and principal.name == user:
        # The only managers must not lock everyone out (devpi's rule).
        return Decision(False, f"{principal.label} may not {Action.USER_DELETE.value} themselves")
    return _managed(principal, Action.USER_DELETE, user)


def _decision(allowed: bool, principal: Principal, action: Action, index: IndexName, source: str) -> Decision:
    if allowed:
        return Decision(True, f"{principal.label} may {action.value} on {index}")
    return Decision(False, f"{principal.label} may not {action.value} on {index}: {source} does not name them")


def _only(principal: Principal, action: Action, user: str | None) -> Decision:
    """Decide an action for one user and the managers; without a user, for the managers only."""
    allowed = principal.name is not None and (principal.name == user or _manages(principal))
    managers = ROOT if principal.house.restrict_modify is None else "those whom restrict_modify names"
    who = f"{user} and {managers}" if user is not None and user != ROOT else managers
    if allowed:
        return Decision(True, f"{principal.label} may {action.value}: it is for {who}")
    return Decision(False, f"{action.value} is for {who} only, not for {principal.label}")


def _only_root(principal: Principal, action: Action) -> Decision:
    if principal.name == ROOT:
        return Decision(True, f"{principal.label} may {action.value}: it is for {ROOT}")
    return Decision(False, f"{action.value} is for {ROOT} only, not for {principal.label}")


def _listed(principal: Principal, entries: Iterable[str]) -> bool:
    """Whether an access list names a principal: by name, `:group`, `:AUTHENTICATED:` or `:ANONYMOUS:`."""
    for entry in entries:
        if entry.startswith(":"):
            special = _special(entry)
            if special == ANONYMOUS:
                return True
            if principal.name is None:
                continue
            if special == AUTHENTICATED or entry[1:] in principal.groups:
                return True
        elif principal.name is not None and entry == principal.name:
            return True
    return False


def _special(entry: str) -> str:
    """An entry in the form in which special names are compared: in any case, as in devpi."""
    return entry.upper() if entry.endswith(":") else entry


def _objection(
    scope: TokenScope, action: Action, index: IndexConfig | None, project: ProjectName | None, *, some_project: bool
) -> str | None:
    """The limit of a token that forbids an action, as a sentence; None when none does.

    A limit to some indexes or projects forbids every action that is not about one of them.
    """
    limited = bool(scope.indexes or scope.projects or scope.actions)
    if limited and action in UNDELEGABLE:
        return f"the token {scope.token_id} has limits, and {action.value} needs a login"
    if scope.actions and not _fits(action.value, scope.actions):
        return f"the token {scope.token_id} is not for {action.value}"
    if scope.indexes and (index is None or not _fits(index.name, scope.indexes)):
        return f"the token {scope.token_id} is limited to other indexes"
    if project is None and some_project:
        return None
    if scope.projects and (project is None or not _fits(project, scope.projects)):
        return f"the token {scope.token_id} is limited to other projects"
    return None


def _fits(value: str, patterns: Sequence[str]) -> bool:
    return value in patterns or any(fnmatchcase(value, pattern) for pattern in patterns)
