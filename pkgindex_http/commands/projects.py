"""`pkgindex-serve project`: commands for a whole project of an index."""

from __future__ import annotations

import click

from pkgindex_core.commands.helping import group
from pkgindex_core.commands.telling import talk
from pkgindex_core.config import Settings
from pkgindex_core.names import parse_index_name, parse_project_name
from pkgindex_http.commands.common import ADMINISTRATOR, asynchronous, index_option, opened, settings_options


@group()
def project() -> None:
    """Delete projects, free their names, and bring deleted files back."""


@project.command("delete")
@settings_options
@click.argument("name", metavar="PROJECT")
@index_option
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


@project.command("undelete")
@settings_options
@click.argument("name", metavar="PROJECT[==VERSION]")
@index_option
@click.option(
    "--within",
    default="30d",
    show_default=True,
    metavar="SPAN",
    help="How long ago the oldest deletion is, such as 36h.",
)
@asynchronous
async def undelete(name: str, index_name: str | None, within: str, settings: Settings) -> None:
    """Bring back the deleted files of a project, or of one version, with their metadata and documentation.

    Files can come back until `gc` has removed their bytes, and while their names are not used by other files.
    """
    from pkgindex_core.rules.option_values import age

    index = parse_index_name(index_name or settings.default_index)
    named, _, version = name.partition("==")
    async with opened(settings) as engine:
        back = await engine.undeleting.undelete(
            index, parse_project_name(named), version or None, within=age(within), principal=ADMINISTRATOR
        )
    for each in back:
        for filename in each.files:
            click.echo(f"brought back\t{filename}")
        for filename in each.gone:
            click.echo(f"gone\t{filename}")
    if not back:
        talk(f"nothing of {name} was deleted from {index} in that time, or all of it is there")
