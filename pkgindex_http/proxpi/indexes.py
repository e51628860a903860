"""The indexes of a cache: a mirror for each upstream, and one index over them. Made at the first start, and changed by later ones.

    root/proxy                       the index that is served; it has no files of its own
    root/pypi, root/HOST-PATH-HASH   a mirror for each upstream, in the order in which they are preferred

There is no log-in: root has no password. A mirror whose upstream is not configured any more keeps its content, and only root may read it.
"""

from __future__ import annotations

import logging
from typing import Final

from pkgindex_core.engine import Engine
from pkgindex_core.errors import Refused
from pkgindex_core.models import ANONYMOUS
from pkgindex_core.names import parse_index_name
from pkgindex_core.rules.permissions import ROOT
from pkgindex_core.tools.served_cache import ServedCache, note_cache
from pkgindex_core.urls import without_credentials
from pkgindex_http.ensuring import ensure_index
from pkgindex_http.proxpi.settings import ProxySettings
from pkgindex_http.settings import ServerSettings

_log = logging.getLogger(__name__)
_OPEN: Final = [ANONYMOUS]
_CLOSED: Final = [ROOT]
_OF_A_START: Final = {"offline", "proxy"}
"""Settings that are not noted for other commands: whether this start may ask upstreams, and by which proxy, whose URL may have a password."""


async def prepare(engine: Engine, settings: ServerSettings, table: ProxySettings) -> None:
    """Make or change the indexes as the settings say."""
    await engine.prepare(indexes=False, log_in=False)
    served = parse_index_name(settings.default_index)
    tree = await engine.store.tree()
    if tree.indexes and served not in tree.indexes and any(not each.mirrored for each in tree.indexes.values()):
        raise Refused(
            f"{settings.data} is not the directory of a cache: other indexes are in it",
            hint="name another directory with --cache; it is made if it is missing",
        )
    wanted = {each.index: each for each in table.upstreams}
    if served in tree.indexes and (former := tree.indexes[served].bases) != tuple(wanted):
        # A second cache for other upstreams, in the same default directory, would change the first one unnoticed.
        _log.warning(
            "%s had other upstreams (%s): processes that run over it serve the new ones from now on; another cache needs another --cache",
            settings.data,
            ", ".join(former),
        )
    for name, upstream in wanted.items():
        options = {
            "mirror_url": _with_credentials(upstream.url),
            "mirror_cache_expiry": upstream.expiry,
            "mirror_find_links": upstream.find_links,
            "mirror_use_external_urls": table.redirect,
            "mirror_sizes": table.sizes,
            "absent_statuses": list(table.absent_statuses),
            "acl_read": _OPEN,
        }
        await ensure_index(engine, name, "mirror", options)
    await ensure_index(
        engine, served, "stage", {"bases": list(wanted), "volatile": False, "acl_read": _OPEN, "acl_upload": _CLOSED}
    )
    for name, config in (await engine.store.tree()).indexes.items():
        if config.mirrored and name not in wanted and config.acl_read != tuple(_CLOSED):
            await ensure_index(engine, name, config.type, {"acl_read": _CLOSED})
    mirror = {name: value for name, value in settings.plugins.get("mirror", {}).items() if name not in _OF_A_START}
    await note_cache(engine.store, ServedCache(index=served, admission=settings.admission, mirror=mirror))


def _with_credentials(url: str) -> str:
    """The URL for the option, which keeps former credentials unless they are taken away."""
    plain, credentials = without_credentials(url)
    return url if credentials else plain.replace("://", "://@", 1)
