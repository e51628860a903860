"""`devpi refresh`: the upstreams of a project's mirrors are asked again now.

Whoever may read a page may have it refreshed, without credentials where reading needs none: devpi's client sends none with this
request, not even after a log-in. It costs no more than what anybody can cause by asking for pages that are not stored yet, and
requests for one project share one question to its upstream.

devpi empties the stored page before it asks, and loses it when the upstream is down. Here what is stored stays until there is
something newer.
"""

from __future__ import annotations

from pkgindex_http.replies import Reply, redirect
from pkgindex_http.requests import Ask


async def refresh(ask: Ask) -> Reply:
    """Ask again, then show the page."""
    await ask.engine.pages.refresh(ask.index, ask.project, principal=ask.principal)
    return redirect(f"{ask.root}{ask.index}/+simple/{ask.project}/", status=302)
