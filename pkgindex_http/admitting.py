"""Checks whether a request is permitted, as far as its URL and its headers tell.

The dispatcher calls `admit` before every handler, and `/+authcheck` calls it and no handler. So the permission of a route (see
`routing`), not its handler, checks everything that a URL decides. Services check what a body decides.
"""

from __future__ import annotations

from functools import partial

from pkgindex_core.errors import Denied, ReadOnlyReplica, Unavailable
from pkgindex_core.names import ProjectName, normalized_or_none
from pkgindex_core.protocols import Credentials, Principal
from pkgindex_core.protocols.replicas import ReplicaState
from pkgindex_core.rules.access import allowed_index
from pkgindex_core.rules.permissions import Action, as_for_files, permits
from pkgindex_core.tools.currency import Holds
from pkgindex_http.access_log import WHO
from pkgindex_http.requests import SIDECAR, Ask
from pkgindex_http.routing import Checked, Glanced, OnIndex, Permission, Public, RoutedAsk
from pkgindex_http.wire.cookies import read_cookie
from pkgindex_http.wire.credentials import presents_token, read_credentials

_OF_THE_SERVER = frozenset({"/+status", "/+metrics", "/+authcheck"})
"""Answered while the copy of a replica is not whole."""
_OF_WHAT_IS_SHOWN = frozenset({Action.READ, Action.UPLOAD_RESULTS})


async def admit(ask: RoutedAsk) -> None:
    """Identify the principal, choose the handler and check the permission. Raises the error that the client gets."""
    permission = ask.route.permission
    variant = next((each for each in ask.route.variants if each.when(ask)), None)
    if variant is not None:
        ask.people = variant.people
    if isinstance(permission, Public):
        if variant is not None:
            ask.handler, ask.envelope = variant.handler, variant.envelope
        return
    if ask.engine.replica is not None:
        await _check_replica(ask, ask.engine.replica)
    try:
        ask.principal = await _identify(ask)
    except Denied as error:
        if not isinstance(permission, Glanced):
            raise
        ask.objection = error
        ask.principal = await ask.engine.identity.identify(None)
    ask.request[WHO] = ask.principal.label if ask.principal.name else ""
    if variant is not None and variant.permission is not None:
        permission, ask.envelope = variant.permission, variant.envelope
    await _check(ask, permission)
    if variant is not None:
        ask.handler, ask.envelope = variant.handler, variant.envelope


async def _check_replica(ask: RoutedAsk, state: ReplicaState) -> None:
    """Refuse changes, for every principal; and everything about indexes while the copy of the primary is not whole."""
    permission = ask.route.permission
    refreshes = isinstance(permission, OnIndex) and permission.action is Action.REFRESH
    if ask.route.method != "GET" and not refreshes:
        raise ReadOnlyReplica(state.primary)
    if ask.route.path not in _OF_THE_SERVER and not state.is_whole(await ask.engine.store.head()):
        why = f": {state.problem}" if state.problem else ""
        raise Unavailable(
            f"the copy of {state.primary} is not complete yet{why}", hint="wait; /+ready tells when it is"
        )


async def _check(ask: Ask, permission: Permission) -> None:
    match permission:
        case OnIndex():
            await _require(ask, permission)
        case Checked(check=check, unread=unread):
            if "index" in ask.values and not unread:
                await _require(ask, OnIndex(Action.READ, about="anything"))
            await check(ask)
        case Glanced(check=glance) if glance is not None:
            await glance(ask)


async def file_project(ask: Ask, action: Action) -> ProjectName | None:
    """The project of the file that the URL names, if the token is limited to projects. None if the project makes no difference."""
    scope = ask.principal.scope
    config = (await ask.engine.store.tree()).indexes.get(ask.index)
    if (
        scope is None
        or not scope.projects
        or config is None
        or permits(ask.principal, action, index=as_for_files(config))
    ):
        return None
    filename = ask.values["filename"]
    if action is Action.READ:
        filename = filename.removesuffix(SIDECAR)
    # A hidden file is missing for readers, and there for maintainers of the index.
    find = ask.engine.files.describe if action in _OF_WHAT_IS_SHOWN else ask.engine.files.lookup
    return (await find(ask.index, ask.pinned, filename, principal=ask.principal)).project


async def _identify(ask: RoutedAsk) -> Principal:
    """The principal of a request: from its credentials, or from a trusted proxy that names the user.

    devpi's own header and our tokens are for this server. When a proxy names the user, other credentials in `Authorization` were
    for the proxy.
    """
    headers = ask.request.headers
    vouched = ask.vouched
    if vouched is None or presents_token(headers):
        credentials = read_credentials(headers)
        if credentials is None and ask.people and (session := await _session(ask)) is not None:
            return session
        principal = await ask.judged(credentials, partial(ask.engine.identity.identify, credentials))
        if vouched is not None or not ask.remote_users.is_named(
            ask.request
        ):  # a name without the secret is logged each time
            ask.identified = partial(ask.engine.identity.holding, credentials, principal)
        return principal
    ask.identified = _always
    return ask.engine.identity.at_home(vouched)


async def _session(ask: RoutedAsk) -> Principal | None:
    """The principal of the cookie of a log-in. None without one, and for one that has ended: the person may log in again.

    `ask.identified` stays None, so an answer for a cookie is never repeated.
    """
    token = read_cookie(ask.request.headers, "login", ask.url)
    if not token:
        return None
    try:
        principal = await ask.engine.identity.identify(Credentials(username="__token__", secret=token))
    except Denied:
        return None
    if not principal.log_in:  # an API token is for programs
        return None
    ask.session = token
    return principal


def _always() -> Holds:
    """For a principal that the request alone decides."""
    return lambda: True


async def _require(ask: Ask, permission: OnIndex) -> None:
    about = permission.about if isinstance(permission.about, str) else permission.about(ask)
    project: ProjectName | None = None
    if about == "project":
        project = normalized_or_none(ask.values["project"])
    elif about == "file":
        project = await file_project(ask, permission.action)
    allowed_index(
        await ask.engine.store.tree(),
        ask.index,
        ask.principal,
        permission.action,
        also=permission.also,
        project=project,
        some_project=project is None and about != "index",
        files=about == "file",
    )
