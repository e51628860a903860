"""Opens an index of a server as the mirror to work on, over an engine of its own."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from pkgindex_core.commands.stores import opened
from pkgindex_mirror.bandersnatch.values import MirrorConfiguration
from pkgindex_mirror.commands.mirror_orders import IndexPlace
from pkgindex_mirror.engine_target.index_target import IndexTarget
from pkgindex_mirror.engine_target.opening import index_target
from pkgindex_mirror.syncing.file_policies import FilePolicies, PolicyRule
from pkgindex_mirror.syncing.targets import Access

_NO_RULES: Final = ("* immediate",)


@asynccontextmanager
async def opened_index(
    place: IndexPlace, configuration: MirrorConfiguration, access: Access
) -> AsyncIterator[IndexTarget]:
    """The index as a target of runs. Raises `Missing` for a store that is not there, unless `access` is `make`."""
    async with opened(place.settings, mirrors=True, create=access == "make") as engine:
        if access != "read":
            place.status_directory.mkdir(parents=True, exist_ok=True)
        yield index_target(
            engine, place.index, upstream=f"{configuration.master}/simple/", policies=file_policies(configuration)
        )


def file_policies(configuration: MirrorConfiguration) -> FilePolicies:
    """Which files a run fetches. Without rules `release-files` says whether it fetches any."""
    if configuration.file_policies == _NO_RULES:
        return FilePolicies(otherwise="immediate" if configuration.release_files else "on-demand")
    rules = (rule.split(" ") for rule in configuration.file_policies)
    return FilePolicies(
        tuple(PolicyRule(pattern, "on-demand" if policy == "on-demand" else "immediate") for pattern, policy in rules)
    )
