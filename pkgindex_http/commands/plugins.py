"""`pkgindex-serve plugins`: lists the plugins that are loaded, and the reasons why others cannot be."""

from __future__ import annotations

from pathlib import Path

import click
import msgspec

from pkgindex_core.commands.helping import command
from pkgindex_core.commands.telling import fail, print_json
from pkgindex_core.errors import PkgIndexError
from pkgindex_http import plugin
from pkgindex_http.commands.common import settings_from


@command()
@click.option("--config", type=click.Path(dir_okay=False, path_type=Path), help="TOML configuration file.")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON document.")
def plugins(config: Path | None, as_json: bool) -> None:
    """List plugins by hook, built-in ones last, with the distribution and file of each."""
    from pkgindex_core.plugins import DISTRIBUTION, broken, survey_plugins

    try:
        settings = settings_from(config)
    except PkgIndexError as error:
        fail(error)
    found, problems = survey_plugins(program=plugin, disabled=settings.disabled_plugins, settings=settings.plugins)
    if as_json:
        print_json(msgspec.to_builtins(found.describe()))
    else:
        # People look for plugins that are not built in. The sort is stable, so each half keeps its order.
        hook = ""
        for each in sorted(found.describe(), key=lambda each: each.distribution == DISTRIBUTION):
            if each.hook != hook:
                hook = each.hook
                click.echo(hook)
            distribution = f"{each.distribution} {each.version}".strip() or "this program"
            click.echo(f"  {each.name}\n      {each.summary}\n      from {distribution}, {each.path}")
    if problems:
        fail(broken(problems))
