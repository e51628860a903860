"""`pkgindex-serve census`: the same count for every index, at the terminal."""

from __future__ import annotations

import click

from pkgindex_core.commands.helping import command
from pkgindex_core.config import Settings
from pkgindex_http.commands.common import asynchronous, opened, settings_options


@command()
@settings_options
@asynchronous
async def census(settings: Settings) -> None:
    """Count the projects that each index holds itself."""
    async with opened(settings) as engine:
        for name in sorted((await engine.store.tree()).indexes):
            click.echo(f"{name}\t{await engine.store.project_count(name)}")
