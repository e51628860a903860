"""`pkgindex-serve project`: commands for a whole project of an index."""

from __future__ import annotations

import click

from pkgindex_core.commands.helping import group
from pkgindex_core.commands.telling import talk
from pkgindex_core.config import Settings
from pkgindex_core.names import parse_index_name, parse_project_name
from pkgindex_http.commands.common import ADMINISTRATOR, asynchronous, opened, settings_options


@group()
def project() -> None:
    """Delete projects, and free their names."""


@project.command("delete")
@settings_options
@click.argument("name", metavar="PROJECT")
@click.option("--index", "index_name", metavar="USER/INDEX", help="The index.  [default: the default index]")
@click.option("-f", "--force", is_flag=True, help="Needed for an index that is not volatile.")
@asynchronous
async def delete_project(name: str, index_name: str | None, force: bool, settings: Settings) -> None:
    """Delete a project with all its versions, and free its name.

    The name of a project stays taken when its last version is deleted. When the project itself is deleted, the index shows the
    project of that name in its bases.
    """
    index = parse_index_name(index_name or settings.default_index)
    async with opened(settings) as engine:
        await engine.releases.delete_project(index, parse_project_name(name), principal=ADMINISTRATOR, force=force)
    talk(f"{name} deleted from {index}; the index now shows a project of that name if a base has one")
