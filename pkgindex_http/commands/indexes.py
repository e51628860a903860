"""`pkgindex-serve index`: make, change, list and remove indexes."""

from __future__ import annotations

from typing import Any

import click

from pkgindex_core.commands.helping import group
from pkgindex_core.commands.telling import print_json, talk
from pkgindex_core.config import Settings
from pkgindex_core.models import IndexConfig
from pkgindex_core.names import parse_index_name
from pkgindex_core.rules.kept_options import mirror_options
from pkgindex_core.rules.option_values import parse_options
from pkgindex_http.commands.common import ADMINISTRATOR, asynchronous, opened, settings_options


@group()
def index() -> None:
    """Make, change, list and remove indexes."""


@index.command("create")
@settings_options
@click.argument("name", metavar="USER/INDEX")
@click.argument("options", metavar="[KEY=VALUE]...", nargs=-1)
@asynchronous
async def create_index(name: str, options: tuple[str, ...], settings: Settings) -> None:
    """Make an index. Example: team/dev bases=root/pypi volatile=False acl_upload=anna,ben"""
    async with opened(settings, mirrors=_names_upstream(options)) as engine:
        made = await engine.indexes.create(name, parse_options(options), principal=ADMINISTRATOR)
        talk(f"index {name} created")
        await _warn(engine, made)
        print_json(_document(engine, made))


@index.command("modify")
@settings_options
@click.argument("name", metavar="USER/INDEX")
@click.argument("options", metavar="KEY=VALUE...", nargs=-1, required=True)
@asynchronous
async def modify_index(name: str, options: tuple[str, ...], settings: Settings) -> None:
    """Change options of an index: KEY=VALUE sets one, KEY-= removes it; KEY+=VALUE and KEY-=VALUE change a list."""
    async with opened(settings, mirrors=_names_upstream(options)) as engine:
        changed = await engine.indexes.modify(parse_index_name(name), options, principal=ADMINISTRATOR)
        talk(f"index {name} changed")
        await _warn(engine, changed)
        print_json(_document(engine, changed))


@index.command("delete")
@settings_options
@click.argument("name", metavar="USER/INDEX")
@asynchronous
async def delete_index(name: str, settings: Settings) -> None:
    """Remove a volatile index with all its content."""
    async with opened(settings) as engine:
        await engine.indexes.delete(parse_index_name(name), principal=ADMINISTRATOR)
    talk(f"index {name} deleted")


@index.command("show")
@settings_options
@click.argument("name", metavar="USER/INDEX")
@asynchronous
async def show_index(name: str, settings: Settings) -> None:
    """Print the options of an index."""
    async with opened(settings) as engine:
        config = await engine.indexes.config(parse_index_name(name))
        print_json({**_document(engine, config), **await engine.overview.use(config)})


@index.command("list")
@settings_options
@click.option("--json", "as_json", is_flag=True, help="Print a JSON document.")
@asynchronous
async def list_indexes(as_json: bool, settings: Settings) -> None:
    """List indexes."""
    async with opened(settings) as engine:
        tree = await engine.store.tree()
        configs = [tree.indexes[name] for name in sorted(tree.indexes)]
        if as_json:
            print_json([_document(engine, each) for each in configs])
            return
    for each in configs:
        origin = mirror_options(each).url if each.mirrored else ",".join(each.bases)
        click.echo(f"{each.name}\t{each.type}\t{'volatile' if each.volatile else 'permanent'}\t{origin}")


def _document(engine: Any, config: IndexConfig) -> dict[str, Any]:
    """The name of an index, and its options as devpi shows them."""
    return {"name": config.name, **engine.index_options.document(config)}


def _names_upstream(options: tuple[str, ...]) -> bool:
    return any(option.startswith(("mirror_url=", "remote_url=")) for option in options)


async def _warn(engine: Any, index: IndexConfig) -> None:
    """Print what is wrong with an index. An upstream is asked if the engine can."""
    problem = await engine.examining.index(index)
    if problem:
        talk(f"warning: {index.name}: {problem}")
