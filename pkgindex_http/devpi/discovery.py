"""What devpi's client asks first: where things are (`+api`), and what it talks to (`+status`).

`+api` answers everybody, also with credentials that are wrong or have expired (`noauth`): the client finds out by it that its log-in
has ended, and somebody who has not logged in yet finds out where to. So it also answers for an index that needs a log-in to be
read; with a log-in that does not suffice the index is missing, as everywhere.
"""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import pkgindex_core
from pkgindex_core.errors import Missing
from pkgindex_core.models import IndexConfig
from pkgindex_core.rules.permissions import Action, permits
from pkgindex_http.devpi.envelope import document
from pkgindex_http.replies import Reply
from pkgindex_http.requests import Ask

FEATURES: Final = ("push-no-docs", "push-only-docs", "push-register-project", "server-keyvalue-parsing")
"""What the client may do, in devpi's words: `server-keyvalue-parsing` makes it send `key+=value` as it is."""


async def may_locate(ask: Ask) -> None:
    """An index that one has logged in for and may not read is missing."""
    await _index(ask)


async def api(ask: Ask) -> Reply:
    """Where things are, and whether the credentials are good."""
    url, principal = ask.url, ask.principal
    answer: dict[str, Any] = {
        "login": f"{url}/+login",
        "authstatus": ["noauth", "", []] if principal.name is None else ["ok", principal.name, list(principal.groups)],
        "features": list(FEATURES),
    }
    if "index" in ask.values:
        config = await _index(ask)
        answer["index"] = f"{url}/{config.name}"
        answer["simpleindex"] = f"{url}/{config.name}/+simple/"
        if not config.mirrored:
            answer["pypisubmit"] = f"{url}/{config.name}/"
    return document(answer, "apiconfig")


async def may_ask(ask: Ask) -> None:
    """Anybody, but not with credentials that are wrong."""
    ask.insist()


async def status(ask: Ask) -> Reply:
    """How the server is. Its place on the machine is for those who run it."""
    engine, settings = ask.engine, ask.engine.settings
    serial, at = await engine.last_commit()
    runs = bool(permits(ask.principal, Action.ADMIN))
    seconds = at / 1_000_000
    answer = {
        "serverdir": str(settings.data) if runs else "",
        "uuid": await engine.uuid(),
        "versioninfo": {"pkgindex": version("pkgindex")},
        "server-code": str(Path(pkgindex_core.__path__[0])) if runs else "",
        "host": settings.host if runs else "",
        "port": settings.port if runs else 0,
        "outside-url": settings.outside_url or None,
        "serial": serial,
        "last-commit-timestamp": seconds,
        # Nothing lags behind a commit here: what devpi does afterwards is part of it.
        "event-serial": serial,
        "event-serial-timestamp": seconds,
        "event-serial-in-sync-at": seconds,
        "metrics": [],
        "role": "MASTER",
        "polling_replicas": {},
    }
    return document(answer, "status")


async def _index(ask: Ask) -> IndexConfig:
    config = (await ask.engine.store.tree()).indexes.get(ask.index)
    hidden = (
        config is not None
        and ask.principal.name is not None
        and not permits(ask.principal, Action.READ, index=config, some_project=True)
    )
    if config is None or hidden:
        raise Missing("index", ask.index)
    return config
