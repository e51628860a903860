"""`pkgindex-serve plugins`: what is loaded, and from where."""

from __future__ import annotations

import sys

import click
import msgspec

from pkgindex_core.errors import PkgIndexError
from pkgindex_core.plugins import load_plugins
from pkgindex_http.commands.common import fail, print_json


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print a JSON document.")
def plugins(as_json: bool) -> None:
    """List stores, formats, filters, checks and policies, with the distribution and file each comes from."""
    try:
        loaded = load_plugins().describe()
    except PkgIndexError as error:
        fail(error)
        sys.exit(1)
    if as_json:
        print_json(msgspec.to_builtins(loaded))
        return
    hook = ""
    for each in loaded:
        if each.hook != hook:
            hook = each.hook
            click.echo(hook)
        distribution = f"{each.distribution} {each.version}".strip() or "this program"
        click.echo(f"  {each.name}\n      {each.summary}\n      from {distribution}, {each.path}")
