"""`/+authcheck`: may whoever asks this have the URL that `X-Original-URI` names?

For nginx's `auth_request`, as devpi-lockdown offers it. The answer is what the dispatcher itself would say before it calls the
handler, by the same table and the same code: 200, 401 with the challenge, or 403. nginx understands nothing else, so what is missing
or hidden is 403 too, and so is a path that is no URL of ours: nothing is let through because nobody knows it.

The method is `X-Original-Method`. When nginx does not say (devpi-lockdown did not ask it to) it is GET, or what the URL has instead, as
that of the log-in has POST. What stands in a body is not seen here; the server itself checks it.
"""

from __future__ import annotations

from urllib.parse import urlsplit

from pkgindex_core.errors import Denied, Missing, Refused
from pkgindex_core.rules.permissions import ABOUT_A_USER, Action
from pkgindex_core.services.access import allowed_index, require_user_right
from pkgindex_http.paths import origin_form, split_path
from pkgindex_http.replies import Reply, text_reply
from pkgindex_http.requests import Ask
from pkgindex_http.routing import Checked, OnIndex, Public


async def authcheck(ask: Ask) -> Reply:
    """Answer for the proxy."""
    original = ask.request.headers.get("X-Original-URI")
    if not original:
        raise Refused("there is no X-Original-URI", hint="proxy_set_header X-Original-URI $request_uri;")
    method = ask.request.headers.get("X-Original-Method", "").upper()
    try:
        await _check(ask, _path(ask, original), "GET" if method == "HEAD" else method)
    except (Missing, Refused) as error:
        raise Denied("this is not permitted", anonymous=False) from error
    return text_reply("permitted", headers={"Cache-Control": "no-store"})


async def _check(ask: Ask, path: str, method: str) -> None:
    segments = split_path(path)
    match = ask.server.routes.match(segments) if segments is not None else None
    methods = match.methods if match is not None else {}
    route = methods.get(method) if method else methods.get("GET") or next(iter(methods.values()), None)
    if match is None or segments is None or route is None:
        raise Missing("page", path[:160])
    permission = route.permission
    if isinstance(permission, Public):
        return
    about = Ask(server=ask.server, request=ask.request, values=match.values, segments=segments)
    await ask.server.admit(about, route)
    # What the dispatcher leaves to the handler, as far as the URL says what it is about.
    if isinstance(permission, Checked) and permission.action in ABOUT_A_USER and "user" in about.values:
        require_user_right(about.principal, permission.action, about.values["user"])
    if isinstance(permission, OnIndex) and permission.action is Action.READ and "project" in about.values:
        tree = await about.engine.store.tree()
        allowed_index(tree, about.index, about.principal, Action.READ, project=about.project)


def _path(ask: Ask, original: str) -> str:
    """The path of the original request, without what this server is mounted below."""
    path = origin_form(original).partition("?")[0]
    prefix = urlsplit(ask.server.origin.url(ask.request)).path
    return path[len(prefix) :] if prefix and path.startswith(f"{prefix}/") else path
