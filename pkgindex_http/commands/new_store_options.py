"""Warnings of `run` about options that only apply to a new store."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING

from pkgindex_core.config import Settings
from pkgindex_core.rules.kept_options import mirror_options
from pkgindex_core.rules.permissions import ROOT
from pkgindex_core.urls import without_credentials

if TYPE_CHECKING:
    from pkgindex_core.engine import Engine

_MIRROR = "root/pypi"


async def unused_options(engine: Engine) -> list[str]:
    """A line for each such option that differs from the store, with the command that changes the store."""
    settings = engine.settings
    where = f"--data {shlex.quote(str(Path(settings.data).absolute()))}"
    lines = []
    upstream = without_credentials(settings.upstream)[0]
    mirror = next((config for name, config in (await engine.store.tree()).indexes.items() if name == _MIRROR), None)
    url = mirror_options(mirror).url if mirror else None
    if settings.upstream != Settings(data=settings.data).upstream and url != upstream:
        verb, state = ("modify", f"mirrors {url}") if mirror else ("create", "does not exist")
        kind = "" if mirror else " type=mirror"
        lines.append(
            f"--upstream is for a new store and was not used: {_MIRROR} {state}."
            f" To change it: pkgindex-serve index {verb} {_MIRROR}{kind} mirror_url={shlex.quote(upstream)} {where}"
        )
    root = await engine.store.user(ROOT)
    if (
        settings.root_password is not None
        and root is not None
        and not await engine.passwords.verify(root.password_hash, settings.root_password)
    ):
        lines.append(
            "--root-password is for a new store and was not used: root has another password."
            f" To change it: pkgindex-serve user password {ROOT} {where}"
        )
    return lines
