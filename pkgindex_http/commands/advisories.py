"""`pkgindex-serve advisory`: the book of advisories, and those that an index has of its own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
import msgspec

from pkgindex_core.commands.helping import group
from pkgindex_core.commands.telling import print_json, talk
from pkgindex_core.config import Settings
from pkgindex_core.errors import Refused
from pkgindex_core.names import parse_index_name
from pkgindex_http.commands.common import ADMINISTRATOR, asynchronous, opened, settings_options

_INDEX = click.option(
    "--index", "index_name", required=True, metavar="USER/INDEX", help="The index whose files it is about."
)
_JSON = click.option("--json", "as_json", is_flag=True, help="Print a JSON document.")


@group()
def advisory() -> None:
    """Know of malicious and vulnerable packages: feeds of OSV, and advisories of one's own."""


@advisory.command("update")
@settings_options
@click.argument("feed", type=click.Path(exists=True, path_type=Path))
@asynchronous
async def update_advisories(feed: Path, settings: Settings) -> None:
    """Take in all advisories of FEED, a zip file or a directory of OSV records, in the place of those of the feed before.

    A server that runs notices within a second.
    """
    from pkgindex_core.clock import SystemClock
    from pkgindex_core.engines.advisories.book import FiledBook, book_path
    from pkgindex_core.engines.advisories.taking_in import take_in

    data = Path(settings.data)
    book_path(data).parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    await take_in(feed, data=data, label=str(feed), now=SystemClock().now())
    talk(f"{FiledBook(data).state().records} advisories are known")


@advisory.command("state")
@settings_options
@_JSON
def advisory_state(as_json: bool, settings: Settings) -> None:
    """Show how many advisories are known, from where, and how old they are."""
    from pkgindex_core.clock import to_rfc3339
    from pkgindex_core.engines.advisories.book import FiledBook

    state = FiledBook(Path(settings.data)).state()
    document: dict[str, Any] = {
        "advisories": state.records,
        "feed": state.feed or None,
        "newest": state.newest or None,
        "taken": None if state.taken is None else to_rfc3339(state.taken),
        "checked": None if state.checked is None else to_rfc3339(state.checked),
    }
    if as_json:
        print_json(document)
    elif state.taken is None:
        talk("no advisories were taken in yet")
    else:
        click.echo(f"{state.records} advisories of {state.feed}")
        click.echo(f"newest {state.newest}, taken in {document['taken']}, feed checked {document['checked']}")


@advisory.command("add")
@settings_options
@click.argument("file", type=click.File("rb"))
@_INDEX
@asynchronous
async def add_advisory(file: Any, index_name: str, settings: Settings) -> None:
    """Publish the OSV record in FILE (- for standard input) in an index. One with the same id is replaced."""
    try:
        record = msgspec.json.decode(file.read(), type=dict[str, Any])
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Refused(f"this is no JSON document of an advisory: {error}") from error
    async with opened(settings) as engine:
        made = await engine.own_advisories.put(parse_index_name(index_name), record, principal=ADMINISTRATOR)
    talk(f"{made.id} is published in {index_name}")


@advisory.command("list")
@settings_options
@_INDEX
@_JSON
@asynchronous
async def list_advisories(index_name: str, as_json: bool, settings: Settings) -> None:
    """Show the advisories that an index has of its own."""
    async with opened(settings) as engine:
        found = await engine.own_advisories.listed(parse_index_name(index_name), principal=ADMINISTRATOR)
    if as_json:
        print_json(list(found))
        return
    for each in found:
        names = ", ".join(str(one.get("package", {}).get("name", "")) for one in each.get("affected", ()))
        click.echo(f"{each['id']}  {names}  {each.get('summary', '')}")
    if not found:
        talk(f"{index_name} has no advisories of its own")


@advisory.command("drop")
@settings_options
@click.argument("identifier")
@_INDEX
@asynchronous
async def drop_advisory(identifier: str, index_name: str, settings: Settings) -> None:
    """Remove an advisory of an index."""
    async with opened(settings) as engine:
        await engine.own_advisories.drop(parse_index_name(index_name), identifier, principal=ADMINISTRATOR)
    talk(f"{identifier} is removed from {index_name}")
