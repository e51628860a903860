"""`pkgindex-serve init`: makes a store before the server is started, if wanted with safer policies."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import click

from pkgindex_core.commands.helping import command
from pkgindex_core.commands.telling import talk
from pkgindex_core.config import Settings
from pkgindex_core.names import IndexName
from pkgindex_http.commands.common import ADMINISTRATOR, asynchronous, opened, settings_options

MIRROR_POLICIES: Final = ("cooldown 7d", "malware")
"""Policies of mirrors in a hardened store, as far as the rules exist."""
HOSTED_POLICIES: Final = ("names-stay", "install-places", "startup-files warn")
"""Policies of indexes that take uploads."""


@command()
@settings_options
@click.option("--hardened", is_flag=True, help="Give all indexes policies against fresh, stolen and confused packages.")
@asynchronous
async def init(hardened: bool, settings: Settings) -> None:
    """Make the store with its first user and indexes, without serving. A store that exists is kept.

    With --hardened, releases of mirrors wait for seven days, malware is blocked, and names of deleted projects stay with their
    index. Policies that an index has already are kept.
    """
    from pkgindex_core.rules.policing.kinds import KINDS
    from pkgindex_core.rules.policing.lines import OPTION, lines_of

    async with opened(settings, create=True) as engine:
        tree = await engine.store.tree()
        for name, config in tree.indexes.items():
            own = lines_of(config)
            taken = {line.partition(" ")[0] for line in own}
            wanted = MIRROR_POLICIES if config.mirrored else () if config.read_only else HOSTED_POLICIES
            new = [each for each in wanted if (rule := each.partition(" ")[0]) in KINDS and rule not in taken]
            if hardened and new:
                await engine.indexes.modify(IndexName(name), {OPTION: [*own, *new]}, principal=ADMINISTRATOR)
                talk(f"{name}: {'; '.join(new)}")
    talk(f"the store is in {Path(settings.data).absolute()}; start it with `pkgindex-serve`")
