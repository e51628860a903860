"""`pkgindex-mirror explain`: tells why each file of a project is in a mirror or not."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from pkgindex_core.commands.helping import command
from pkgindex_mirror.commands.mirror_orders import MirrorOrder, taking_mirror
from pkgindex_mirror.commands.mirror_runs import json_option, run_loop

if TYPE_CHECKING:
    from pkgindex_mirror.syncing.explaining_projects import ProjectExplanation


@command()
@taking_mirror
@click.argument("project")
@json_option
def explain(order: MirrorOrder, *, project: str, as_json: bool) -> None:
    """Tell why each file of PROJECT is mirrored or not, from what the last runs stored."""
    import msgspec

    from pkgindex_core.commands.telling import print_json

    found = run_loop(_explain(order, project))
    if as_json:
        print_json(msgspec.to_builtins(found))
        return
    click.echo(found.project)
    for sentence in found.sentences:
        click.echo(f"  {sentence}")
    for remark in found.remarks:
        click.echo(f"  on its page: {remark}")
    for file in found.files:
        why = f": {file.reason} ({file.filter})" if file.reason else ""
        click.echo(f"  {file.fate:<9} {file.filename}{why}")


async def _explain(order: MirrorOrder, project: str) -> ProjectExplanation:
    from pkgindex_core.names import parse_project_name
    from pkgindex_mirror.commands.opened_mirrors import opened_mirror
    from pkgindex_mirror.syncing.explaining_projects import explain_project

    async with opened_mirror(order, Path.cwd(), "read") as mirror:
        await mirror.target.open()
        name = parse_project_name(project)
        return await explain_project(mirror.target, mirror.chosen, name, policies=mirror.settings.policies)
