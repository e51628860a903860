"""The indexes behind the directories: made at the first start, and changed when a later start has other options.

    root/packages    the directories (type `directory`), the default index
    root/fallback    with `proxy_fallback`: a cache of the index that others are sent to, with the readers of the directories;
                     without it what was cached stays, for root alone

What the command line says is in the store after the start, so other commands and servers over the store see the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from pkgindex_core.engine import Engine
from pkgindex_core.models import ANONYMOUS, AUTHENTICATED
from pkgindex_core.names import parse_index_name
from pkgindex_core.rules.kept_options import mirror_options
from pkgindex_core.rules.permissions import ROOT
from pkgindex_core.urls import without_credentials
from pkgindex_http.ensuring import ADMINISTRATOR, ensure_index
from pkgindex_http.pypiserver.settings import PypiserverSettings
from pkgindex_http.settings import ServerSettings

FALLBACK: Final = "root/fallback"
"""The cache. It is not `root/pypi`, which other indexes of the store may have as their mirror, with other readers."""


async def prepare(engine: Engine, settings: ServerSettings, table: PypiserverSettings) -> Path | None:
    """Have the indexes as the settings say; return where the new root password lies, if one was generated."""
    password_file = await engine.prepare(indexes=False)
    with_log_ins = "htpasswd" in settings.plugins
    rights = _rights(table, with_log_ins=with_log_ins)
    bases = []
    if table.proxy_fallback:
        readers = {key: rights[key] for key in ("acl_read", "acl_download")}
        await _have_cache(engine, table.fallback_url or settings.upstream, readers)
        bases = [FALLBACK]
    elif parse_index_name(FALLBACK) in (await engine.store.tree()).indexes:
        await ensure_index(engine, FALLBACK, "mirror", {"acl_read": [ROOT], "acl_download": None})
    options = {"roots": list(table.roots), "volatile": table.overwrite, "bases": bases, **rights}
    await ensure_index(engine, settings.default_index, "directory", options)
    return password_file


def _rights(table: PypiserverSettings, *, with_log_ins: bool) -> dict[str, Any]:
    """The access lists. Without a password file only root may upload, with its generated password.

    `:ANONYMOUS:` permits uploads and no deletion, so an open index names `:AUTHENTICATED:` too (see `Forms`).
    """
    closed = [AUTHENTICATED]
    listed = closed if "list" in table.authenticate else [ANONYMOUS]
    fetched = closed if "download" in table.authenticate else [ANONYMOUS]
    updating = closed if with_log_ins else [ROOT]
    uploaded = updating if "update" in table.authenticate else [ANONYMOUS, AUTHENTICATED]
    return {
        "acl_read": listed,
        "acl_download": None if fetched == listed else fetched,
        "acl_upload": uploaded,
        "acl_toxresult_upload": uploaded,
    }


async def _have_cache(engine: Engine, url: str, readers: Mapping[str, Any]) -> None:
    """Make the cache of an index, or change it. What was cached of another index is dropped, since a mirror keeps what its upstream lacks."""
    plain, credentials = without_credentials(url)
    before = (await engine.store.tree()).indexes.get(parse_index_name(FALLBACK))
    if before is not None and before.mirrored and mirror_options(before).url.rstrip("/") != plain.rstrip("/"):
        await engine.indexes.delete(before.name, principal=ADMINISTRATOR)
    # A mirror keeps its credentials for the same server, unless the URL has other ones or says that there are none.
    told = url if credentials else plain.replace("://", "://@", 1)
    await ensure_index(engine, FALLBACK, "mirror", {"mirror_url": told, **readers})
