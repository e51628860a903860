"""`pkgindex-serve publisher`: workflows that may upload without a stored secret (trusted publishing)."""

from __future__ import annotations

from typing import Any

import click

from pkgindex_core.commands.helping import group
from pkgindex_core.commands.telling import print_json, talk
from pkgindex_core.config import Settings
from pkgindex_core.engine import Engine
from pkgindex_core.errors import Missing, PkgIndexError
from pkgindex_core.models import decode_file
from pkgindex_core.names import IndexName, ProjectName, parse_index_name, parse_project_name
from pkgindex_core.rules.trusted_publishers import OPTION, TrustedPublisher, parse_line, publishers_of
from pkgindex_http.commands.common import ADMINISTRATOR, asynchronous, opened, settings_options


@group()
def publisher() -> None:
    """Choose the workflows that may upload to an index without a stored secret."""


@publisher.command("add")
@settings_options
@click.argument("index", metavar="USER/INDEX")
@click.argument("project")
@click.argument("who", metavar="PUBLISHER")
@click.argument("claims", metavar="[CLAIM=VALUE]...", nargs=-1)
@asynchronous
async def add_publisher(index: str, project: str, who: str, claims: tuple[str, ...], settings: Settings) -> None:
    """Trust a workflow. The project need not exist yet. Example: team/dev demo github:octo/demo//release.yml#pypi repository_id=1296269

    Without ids, those of the first token that fits are added.
    """
    line = parse_line(" ".join([project, who, *claims]))
    async with opened(settings) as engine:
        await engine.indexes.modify(
            parse_index_name(index), [f"{OPTION}+={line}"], principal=ADMINISTRATOR, must_change=True
        )
    talk(f"{index} trusts {line.publisher} to publish {line.project}")


@publisher.command("list")
@settings_options
@click.argument("index", metavar="[USER/INDEX]", required=False)
@click.option("--json", "as_json", is_flag=True, help="Print a JSON document.")
@asynchronous
async def list_publishers(index: str | None, as_json: bool, settings: Settings) -> None:
    """List the workflows that an index trusts, or those of all indexes. Projects that do not exist yet are marked as pending."""
    async with opened(settings) as engine:
        tree = await engine.store.tree()
        if index is not None and index not in tree.indexes:
            raise Missing("index", index)
        found = [
            await _document(engine, name, line)
            for name, config in sorted(tree.indexes.items())
            if index in {None, name}
            for line in publishers_of(config)
        ]
    if as_json:
        print_json(found)
        return
    for each in found:
        state = "pending" if each["pending"] else "active"
        click.echo(f"{each['index']}\t{each['project']}\t{each['publisher']}\t{state}\t{each['claims']}")


@publisher.command("drop")
@settings_options
@click.argument("index", metavar="USER/INDEX")
@click.argument("project")
@click.argument("who", metavar="PUBLISHER")
@asynchronous
async def drop_publisher(index: str, project: str, who: str, settings: Settings) -> None:
    """Trust a workflow no longer. Its tokens end too."""
    given = parse_line(f"{project} {who}")
    name = parse_index_name(index)
    async with opened(settings) as engine:
        lines = publishers_of(await engine.indexes.config(name))
        dropped = [each for each in lines if (each.project, each.publisher) == (given.project, given.publisher)]
        if not dropped:
            raise Missing("publisher", str(given), hint=f"see: pkgindex-serve publisher list {index}")
        options = [f"{OPTION}-={line}" for line in dropped]
        config = await engine.indexes.modify(name, options, principal=ADMINISTRATOR)
        for token in await engine.store.tokens(name.partition("/")[0]):
            if token.kind == "publish" and token.indexes == (config.name,) and given.project in token.projects:
                await engine.tokens.revoke(token.id, who=ADMINISTRATOR.label)
    talk(f"{index} does not trust {given.publisher} to publish {given.project} any more")


@publisher.command("verify")
@settings_options
@click.argument("index", metavar="USER/INDEX")
@click.argument("project")
@asynchronous
async def verify_publishers(index: str, project: str, settings: Settings) -> None:
    """Ask for the provenance of all files of a project, verify it, and print the publisher of each. Status 1 if one does not hold."""
    name, normalized = parse_index_name(index), parse_project_name(project)
    wrong = False
    async with opened(settings, mirrors=True) as engine:
        for filename, version in await _files(engine, name, normalized):
            try:
                read = await engine.provenances.read(name, normalized, version, filename, principal=ADMINISTRATOR)
                found = read.publisher or "not verified"
            except Missing:
                found = "no attestations"
            except PkgIndexError as error:
                found, wrong = str(error), True
            click.echo(f"{filename}\t{found}")
        await engine.settle()
    if wrong:
        raise SystemExit(1)


async def _files(engine: Engine, index: IndexName, project: ProjectName) -> list[tuple[str, str]]:
    """The files of a project, oldest first, so that each is compared with those before it."""
    config = await engine.indexes.config(index)
    (standing,) = await engine.store.standings(project, [index])
    await engine.sources.of(config).refresh(config, project, standing)
    page = await engine.store.page(index, project)
    files = [decode_file(row.body) for row in page.rows] if page is not None else []
    if not files:
        raise Missing("project", project)
    return [(file.filename, file.version) for file in sorted(files, key=lambda file: file.shown_time or 0)]


async def _document(engine: Engine, index: str, line: TrustedPublisher) -> dict[str, Any]:
    name = parse_index_name(index)
    (standing,) = await engine.store.standings(line.project, [name])
    claims = " ".join(f"{key}={value}" for key, value in line.claims.items())
    return {
        "index": index,
        "project": line.project,
        "publisher": str(line.publisher),
        "claims": claims,
        "pending": not standing.holds,
    }
