"""Offers the commands `pkgindex-mirror proxy` and `follow`, which run a server. The routes are offered by `pkgindex_http.plugin`.

An entry point of its own, so that a program without a server loads no routes.
"""

from __future__ import annotations

import pkgutil
from collections.abc import Iterable
from functools import partial

from pkgindex_core.hookspecs import CommandProvider, hookimpl


@hookimpl
def pkgindex_commands() -> Iterable[CommandProvider]:
    yield CommandProvider(
        name="pkgindex-mirror proxy",
        section="Upstreams",
        summary="Run a cache of package indexes: on 127.0.0.1:5000, of PyPI, with proxpi's URLs.",
        make=partial(pkgutil.resolve_name, "pkgindex_http.commands.proxy:proxy"),
    )
    yield CommandProvider(
        name="pkgindex-mirror follow",
        section="Upstreams",
        summary="Keep a read-only copy of the server of pkgindex at URL, and serve it.",
        make=partial(pkgutil.resolve_name, "pkgindex_http.commands.follow:follow"),
    )
