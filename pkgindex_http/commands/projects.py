"""`pkgindex-serve project`: what happens to a whole project of an index."""

from __future__ import annotations

import click

from pkgindex_core.config import Settings
from pkgindex_core.names import parse_index_name, parse_project_name
from pkgindex_http.commands.common import ADMINISTRATOR, asynchronous, opened, settings_options, talk
from pkgindex_http.commands.helping import group


@group()
def project() -> None:
    """Delete projects, and give their names up."""


@project.command("delete")
@settings_options
@click.argument("name", metavar="PROJECT")
@click.option("--index", "index_name", metavar="USER/INDEX", help="Which index.  [default: the default index]")
@click.option("-f", "--force", is_flag=True, help="Also from an index that is not volatile.")
@asynchronous
async def delete_project(name: str, index_name: str | None, force: bool, settings: Settings) -> None:
    """Delete a project with all its versions, and give its name up.

    A project keeps its name when its last version is deleted. Without the project, the index shows what its bases have under that name.
    """
    index = parse_index_name(index_name or settings.default_index)
    async with opened(settings) as engine:
        await engine.releases.delete_project(index, parse_project_name(name), principal=ADMINISTRATOR, force=force)
    talk(f"{name} deleted from {index}; its name is free for what bases of the index have")
