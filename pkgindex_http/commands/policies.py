"""`pkgindex-serve decisions`, `exemption` and `policy`: what policies decided, whom they let through, and whom they would have hit."""

from __future__ import annotations

from typing import Any, BinaryIO

import click

from pkgindex_core.commands.helping import command, group
from pkgindex_core.commands.telling import print_json, talk
from pkgindex_core.config import Settings
from pkgindex_core.errors import Refused
from pkgindex_core.names import parse_index_name, parse_project_name
from pkgindex_http.commands.common import ADMINISTRATOR, asynchronous, opened, settings_options

_INDEX = click.option(
    "--index", "index_name", required=True, metavar="USER/INDEX", help="The index that holds the files."
)
_JSON = click.option("--json", "as_json", is_flag=True, help="Print a JSON document.")


@command()
@settings_options
@click.option("--index", "index_name", metavar="USER/INDEX", help="Only of files that this index holds.")
@click.option("--project", metavar="PROJECT", help="Only of this project.")
@click.option("--rule", metavar="RULE", help="Only of this rule.")
@click.option("--limit", default=1000, show_default=True, type=click.IntRange(1, 100_000), help="The most decisions.")
@_JSON
@asynchronous
async def decisions(
    index_name: str | None, project: str | None, rule: str | None, limit: int, as_json: bool, settings: Settings
) -> None:
    """Show what policies hid, let wait, warned of or observed, and why.

    A decision is recorded once for each file, rule and verdict.
    """
    from pkgindex_core.clock import to_rfc3339
    from pkgindex_http.handlers.policies import decision_document

    index = parse_index_name(index_name) if index_name else None
    name = parse_project_name(project) if project else None
    async with opened(settings) as engine:
        indexes = (await engine.store.tree()).indexes if name else None
        found, _ = await engine.decisions.listed(
            limit=limit,
            indexes=[index] if index is not None else indexes,
            project=name,
            rule=rule,
        )
    if as_json:
        print_json([decision_document(each) for each in found])
        return
    for each in found:
        until = f" until {to_rfc3339(each.next_eligible_at)}" if each.next_eligible_at is not None else ""
        what = each.filename or f"version {each.version}"
        click.echo(
            f"{to_rfc3339(each.at)[:19]}Z  {each.verdict}{until}  {each.index}  {what}  {each.rule}: {each.reason}"
        )
    if not found:
        talk("no decisions are recorded")


@group()
def exemption() -> None:
    """Let packages through that a policy holds back, for a reason and a time."""


@exemption.command("create")
@settings_options
@click.argument("purl")
@_INDEX
@click.option("--reason", required=True, help="Why it is let through.")
@click.option(
    "--rule", "rules", multiple=True, metavar="RULE", help="A rule that does not hold; may be repeated.  [default: all]"
)
@click.option(
    "--until", metavar="TIME", help="When the exemption ends: a day (its end in UTC) or a time.  [default: never]"
)
@asynchronous
async def create_exemption(
    purl: str, index_name: str, reason: str, rules: tuple[str, ...], until: str | None, settings: Settings
) -> None:
    """Let a package through, at once: pkg:pypi/NAME, or pkg:pypi/NAME@VERSION for one version."""
    from pkgindex_core.rules.policing.waiting import parse_instant

    async with opened(settings) as engine:
        made = await engine.exempting.exempt(
            parse_index_name(index_name),
            purl,
            reason=reason,
            rules=rules,
            until=parse_instant(until) if until else None,
            principal=ADMINISTRATOR,
        )
    talk(f"{made.purl} is let through in {index_name}")


@exemption.command("list")
@settings_options
@_INDEX
@_JSON
@asynchronous
async def list_exemptions(index_name: str, as_json: bool, settings: Settings) -> None:
    """Show the exemptions of an index, with author, reason and end."""
    from pkgindex_http.handlers.policies import exemption_document

    async with opened(settings) as engine:
        found = await engine.exempting.exemptions(parse_index_name(index_name), principal=ADMINISTRATOR)
        documents = [exemption_document(each, engine.clock.now()) for each in found]
    if as_json:
        print_json(documents)
        return
    for each in documents:
        state = "" if each["active"] else "  (expired)"
        rules = ", ".join(each["rules"]) or "all rules"
        click.echo(f"{each['purl']}  {rules}  until {each['until'] or 'lifted'}  {each['by']}: {each['reason']}{state}")
    if not documents:
        talk(f"{index_name} has no exemptions")


@exemption.command("delete")
@settings_options
@click.argument("purl")
@_INDEX
@asynchronous
async def delete_exemption(purl: str, index_name: str, settings: Settings) -> None:
    """End an exemption."""
    async with opened(settings) as engine:
        await engine.exempting.lift(parse_index_name(index_name), purl, principal=ADMINISTRATOR)
    talk(f"the policies of {index_name} hold for {purl} again")


@group()
def policy() -> None:
    """Show the rules of policies, and try them on what clients asked for."""


@policy.command("rules")
@_JSON
def show_rules(as_json: bool) -> None:
    """Show all rules that a policy may have, each with an example."""
    from pkgindex_core.rules.policing.kinds import KINDS

    if as_json:
        print_json({rule: {"summary": kind.summary, "value": kind.value} for rule, kind in KINDS.items()})
        return
    for rule, kind in KINDS.items():
        click.echo(f"{f'{rule} {kind.value}'.strip()}\n    {kind.summary}")


@policy.command("dry-run")
@settings_options
@click.argument("line", metavar="RULE")
@click.option(
    "--access-log",
    required=True,
    type=click.File("rb"),
    metavar="FILE",
    help="The access log of the server as JSON lines; - reads standard input.",
)
@_JSON
@asynchronous
async def dry_run(line: str, access_log: BinaryIO, as_json: bool, settings: Settings) -> None:
    """Show which downloads in an access log a policy would have hidden or let wait.

    RULE is a line such as "cooldown 7d for numpy". Each download is judged as of its own time. Nothing is changed.
    """
    from pkgindex_core.clock import to_rfc3339
    from pkgindex_http.commands.dry_runs import downloads, hit_by

    async with opened(settings) as engine:
        counted, hits = await hit_by(engine.store, line, downloads(access_log), engine.context.advisories)
    if as_json:
        documents: list[dict[str, Any]] = [
            {
                "index": hit.download.index,
                "filename": hit.download.filename,
                "who": hit.download.who,
                "client": hit.download.client,
                "count": hit.count,
                "first": to_rfc3339(hit.download.at),
                "reason": hit.reason,
                "next_eligible_at": None if hit.until is None else to_rfc3339(hit.until),
            }
            for hit in hits
        ]
        print_json({"downloads": counted, "hits": documents})
        return
    for hit in hits:
        who = hit.download.who or hit.download.client
        click.echo(f"{hit.count:6}  {hit.download.index}  {hit.download.filename}  {who}  {hit.reason}")
    talk(f"{sum(hit.count for hit in hits)} of {counted} downloads would not have been answered")
    if not counted:
        raise Refused("the access log has no downloads of files", hint="give the log of the server with its JSON lines")
