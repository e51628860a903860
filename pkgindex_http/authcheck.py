"""`/+authcheck`: may whoever asks this have the URL that `X-Original-URI` names?

For nginx's `auth_request`, as devpi-lockdown offers it. The answer is what the dispatcher itself would say before it calls the
handler, by the same functions: 200, 401 with the challenge, or 403. nginx understands nothing else, so what is missing
or hidden is 403 too, and so is a path that is no URL of ours: nothing is let through because nobody knows it.

nginx passes on the headers of the client: its preconditions and ranges are about the page and count for nothing here (see the route).

The method is `X-Original-Method`. When nginx does not say (devpi-lockdown did not ask it to) it is GET, or what the URL has instead, as
that of the log-in has POST. What stands in a body is not seen here; the server itself checks it.

What nginx takes off the path before it asks us for the page is the path of `outside_url`. No header says so: nginx passes on what its
configuration does not set, and then the client would choose which URL is judged.
"""

from __future__ import annotations

from urllib.parse import urlsplit

from pkgindex_core.errors import Conflict, Denied, Missing, Refused
from pkgindex_http.errors import MethodNotAllowed
from pkgindex_http.paths import origin_form, split_path
from pkgindex_http.replies import Reply, text_reply
from pkgindex_http.requests import Ask


async def authcheck(ask: Ask) -> Reply:
    """Answer for the proxy."""
    original = ask.request.headers.get("X-Original-URI")
    if not original:
        raise Refused("there is no X-Original-URI", hint="proxy_set_header X-Original-URI $request_uri;")
    method = ask.request.headers.get("X-Original-Method", "").upper()
    try:
        await ask.judge(ask.request, _below(ask, origin_form(original)), method)
    except Conflict:
        pass  # it may, and the server will say why it cannot
    except (Missing, Refused, MethodNotAllowed) as error:
        raise Denied("this is not permitted", anonymous=False) from error
    return text_reply("permitted", headers={"Cache-Control": "no-store"})


def _below(ask: Ask, target: str) -> str:
    """The original request target, without what this server is mounted below.

    Segments are compared as `paths` reads them, since nginx compares decoded paths too. The rest stays as it was written.
    """
    path, mark, query = target.partition("?")
    mount = split_path(f"{urlsplit(ask.engine.settings.outside_url).path.rstrip('/')}/")
    if mount is None or not path.startswith("/"):
        raise Missing("page", path[:160])
    above = len(mount) - 1  # the last segment is the empty one behind the slash
    segments = path.lstrip("/").split("/")
    # A slash is put behind the segments here, so the mount without one is the root.
    if split_path("/".join(["", *segments[:above], ""])) != mount:
        return target
    return "/" + "/".join(segments[above:]) + mark + query
