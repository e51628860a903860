"""`pkgindex-serve plugins`: what is loaded, and from where."""

from __future__ import annotations

import sys
from pathlib import Path

import click
import msgspec

from pkgindex_core.errors import PkgIndexError
from pkgindex_http.commands.common import fail, print_json, settings_from
from pkgindex_http.commands.helping import command


@command()
@click.option("--config", type=click.Path(dir_okay=False, path_type=Path), help="TOML configuration file.")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON document.")
def plugins(config: Path | None, as_json: bool) -> None:
    """List plugins by hook, those that are not built in first, with the distribution and file each comes from."""
    from pkgindex_core.plugins import DISTRIBUTION, load_plugins

    try:
        settings = settings_from(config)
        loaded = load_plugins(disabled=settings.disabled_plugins, settings=settings.plugins).describe()
    except PkgIndexError as error:
        fail(error)
        sys.exit(1)
    if as_json:
        print_json(msgspec.to_builtins(loaded))
        return
    # What is not built in is what is looked for; a sort keeps the order within each half.
    hook = ""
    for each in sorted(loaded, key=lambda each: each.distribution == DISTRIBUTION):
        if each.hook != hook:
            hook = each.hook
            click.echo(hook)
        distribution = f"{each.distribution} {each.version}".strip() or "this program"
        click.echo(f"  {each.name}\n      {each.summary}\n      from {distribution}, {each.path}")
