"""`pkgindex-serve search`: finds projects by words and restrictions."""

from __future__ import annotations

from typing import Final

import click

from pkgindex_core.commands.helping import command
from pkgindex_core.commands.telling import print_json, talk
from pkgindex_core.config import Settings
from pkgindex_core.names import parse_index_name
from pkgindex_core.protocols.catalogue import SearchEntry
from pkgindex_http.commands.common import ADMINISTRATOR, asynchronous, opened, settings_options

_NAME_WIDTH: Final = 32


@command()
@settings_options
@click.argument("words", nargs=-1, required=True)
@click.option(
    "--index", "index_name", metavar="USER/INDEX", help="Search this index and its bases.  [default: all indexes]"
)
@click.option("--limit", type=click.IntRange(1, 100), default=20, show_default=True, help="The most projects to show.")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON document.")
@asynchronous
async def search(words: tuple[str, ...], index_name: str | None, limit: int, as_json: bool, settings: Settings) -> None:
    """Find projects by words of their names and metadata: `fast json depends:attrs python:3.12`.

    Restrictions are author, classifier, depends, import, index, licence, python and source (hosted or mirror). A dash before a word or a restriction
    excludes what fits it; write -- before the first of them: `json -- -fast -licence:gpl`. Quote a phrase for the search, not only for the shell:
    '"machine learning"'.
    """
    from pkgindex_core.rules.searching.queries import read_query

    query = read_query(" ".join(words))
    async with opened(settings) as engine:
        await engine.cataloguing.caught_up()  # a server does this otherwise
        start = parse_index_name(index_name) if index_name is not None else None
        found = await engine.searching.search(query, start=start, principal=ADMINISTRATOR, limit=limit)
    if as_json:
        print_json([_document(each) for each in found.projects])
        return
    for each in found.projects:
        click.echo(_line(each))
    if not found.projects:
        talk("nothing fits")
    if found.after:
        talk(f"only the first {len(found.projects)} are shown; write more words, or --limit")
    if found.behind:
        talk(f"the last {found.behind} changes are not searched yet")


def _line(entry: SearchEntry) -> str:
    named = f"{entry.name} {entry.version}".strip()
    return f"{named:<{_NAME_WIDTH}}  {entry.index}  {entry.summary}".rstrip()


def _document(entry: SearchEntry) -> dict[str, object]:
    return {
        "name": entry.name,
        "project": entry.project,
        "index": entry.index,
        "mirrored": entry.mirrored,
        "version": entry.version,
        "summary": entry.summary,
        "described": entry.described,
    }
