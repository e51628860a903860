"""`devpi refresh`: asks the upstreams of a project's mirrors again.

The right to read the page is enough, so where reading needs no credentials a refresh needs none: devpi's client sends none with
this request, even after a log-in. A refresh costs no more than a request for a page that is not stored yet, and requests for one
project share one request to its upstream.

devpi empties the stored page first, and loses it when the upstream is down. Here the stored page stays until there is a newer one.
"""

from __future__ import annotations

from pkgindex_http.requests import Ask
from pkgindex_http.wire.replies import Reply, redirect


async def refresh(ask: Ask) -> Reply:
    """Ask the upstreams again, then redirect to the page."""
    await ask.engine.pages.refresh(ask.index, ask.project, principal=ask.principal)
    return redirect(f"{ask.root}{ask.index}/+simple/{ask.project}/", status=302)
