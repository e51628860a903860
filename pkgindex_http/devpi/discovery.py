"""The first requests of devpi's client: URLs and authentication (`+api`), and the state of the server (`+status`).

`+api` answers all callers, also with wrong or expired credentials (`noauth`), because the client learns from it that its log-in
has expired, and the URL of the log-in. So without credentials it also answers for a private index. With credentials that do
not permit to read the index, the index is missing, as for all other URLs.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import pkgindex_core
from pkgindex_core.errors import Missing
from pkgindex_core.installed import installed_version
from pkgindex_core.models import IndexConfig
from pkgindex_core.rules.permissions import Action, permits
from pkgindex_http.devpi.envelope import document
from pkgindex_http.replicas import status_of
from pkgindex_http.requests import Ask
from pkgindex_http.wire.replies import Reply

FEATURES: Final = ("push-no-docs", "push-only-docs", "push-register-project", "server-keyvalue-parsing")
"""devpi's names of features that the client may use. With `server-keyvalue-parsing` it sends `key+=value` unparsed."""


async def may_locate(ask: Ask) -> None:
    """Raise `Missing` for an index that does not exist, or that a caller with credentials may not read."""
    await _index(ask)


async def api(ask: Ask) -> Reply:
    """The URLs that the client needs, and whether the credentials are valid."""
    url, principal = ask.url, ask.principal
    replica = ask.engine.replica
    answer: dict[str, Any] = {
        # A log-in is a new token, which only the primary of a replica can make.
        "login": f"{replica.primary if replica else url}/+login",
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
    """Permit all callers, except those with wrong credentials."""
    ask.insist()


async def status(ask: Ask) -> Reply:
    """The state of the server. Only administrators see paths, host and port."""
    engine, settings = ask.engine, ask.settings
    serial, at = await engine.last_commit()
    runs = bool(permits(ask.principal, Action.ADMIN))
    seconds = at / 1_000_000
    answer = {
        "serverdir": str(settings.data) if runs else "",
        "uuid": await engine.uuid(),
        "versioninfo": {"pkgindex": installed_version("pkgindex")},
        "server-code": str(Path(pkgindex_core.__path__[0])) if runs else "",
        "host": settings.host if runs else "",
        "port": settings.port if runs else 0,
        "outside-url": settings.outside_url or None,
        "serial": serial,
        "last-commit-timestamp": seconds,
        # devpi's events run after a commit. Here a commit includes their work, so nothing lags.
        "event-serial": serial,
        "event-serial-timestamp": seconds,
        "event-serial-in-sync-at": seconds,
        "metrics": [],
        "polling_replicas": {},
        **await status_of(engine, runs=runs),
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
