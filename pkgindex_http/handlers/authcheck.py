"""`/+authcheck`: tells nginx whether a request for the URL in `X-Original-URI` is permitted.

For nginx's `auth_request`, as in devpi-lockdown. The check is the dispatcher's own, without the call of the handler: 200, 401
with the challenge, or 403. nginx understands no other status, so a missing or hidden page, a path without a route
  and a log-in that is slowed down are 403.

* The method is `X-Original-Method`. Without that header, as with devpi-lockdown, it is GET, or the URL's own method if it has
  no GET, such as POST for the log-in.
* The body of the original request is not seen here. The server checks it when the request itself comes.
* nginx passes on the client's preconditions and ranges. They are about the page, so this route ignores them.
* A path prefix that nginx removes is the path of `outside_url`. A header cannot say it: nginx passes on headers that its
  configuration does not set, so the client would choose which URL is checked.
"""

from __future__ import annotations

from urllib.parse import urlsplit

from pkgindex_core.errors import Conflict, Denied, Missing, Refused
from pkgindex_http.errors import MethodNotAllowed, TooManyAttempts
from pkgindex_http.requests import Ask
from pkgindex_http.wire.paths import origin_form, split_path
from pkgindex_http.wire.replies import Reply, text_reply


async def authcheck(ask: Ask) -> Reply:
    """Answer 200 if the original request is permitted. Raises `Denied` otherwise."""
    original = ask.request.headers.get("X-Original-URI")
    if not original:
        raise Refused(
            "the header X-Original-URI is missing",
            hint="set it in nginx: proxy_set_header X-Original-URI $request_uri;",
        )
    method = ask.request.headers.get("X-Original-Method", "").upper()
    try:
        await ask.judge(ask.request, _below(ask, origin_form(original)), method)
    except Conflict:
        pass  # it is permitted, though the server will refuse it for another reason
    except (Missing, Refused, MethodNotAllowed, TooManyAttempts) as error:
        raise Denied("this is not permitted", anonymous=False) from error
    return text_reply("permitted", headers={"Cache-Control": "no-store"})


def _below(ask: Ask, target: str) -> str:
    """The original request target without the path of `outside_url`.

    The segments of that path are compared decoded, as nginx does. The rest keeps its spelling.
    """
    path, mark, query = target.partition("?")
    mount = split_path(f"{urlsplit(ask.settings.outside_url).path.rstrip('/')}/")
    if mount is None or not path.startswith("/"):
        raise Missing("page", path[:160])
    above = len(mount) - 1  # the last segment is the empty one after the slash
    segments = path.lstrip("/").split("/")
    # The added slash makes `/mount` without its slash the root.
    if split_path("/".join(["", *segments[:above], ""])) != mount:
        return target
    return "/" + "/".join(segments[above:]) + mark + query
