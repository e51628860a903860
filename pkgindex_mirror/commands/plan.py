"""`pkgindex-mirror plan`: tells what a run would do, before it does anything."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from pkgindex_core.commands.helping import command
from pkgindex_mirror.commands.mirror_orders import MirrorOrder, taking_mirror
from pkgindex_mirror.commands.mirror_runs import begin_logging, debug_option, json_option, run_loop

if TYPE_CHECKING:
    from pkgindex_mirror.syncing.planning import Amount, RunPlan

_SHOWN = 20


@command()
@taking_mirror
@json_option
@debug_option
def plan(order: MirrorOrder, *, as_json: bool, debug: bool) -> None:
    """Tell what a run would fetch, delete and keep, and what each filter leaves out.

    Reads the list of the upstream and the pages of projects that changed. Nothing is written.
    """
    import click
    import msgspec

    from pkgindex_core.commands.telling import print_json, talk

    begin_logging(debug=debug)
    made = run_loop(_plan(order))
    if made.problem:
        talk(f"error: the upstream cannot be asked: {made.problem}")
        sys.exit(4)
    if as_json:
        print_json(msgspec.to_builtins(made))
    else:
        for line in _lines(made):
            click.echo(line)


async def _plan(order: MirrorOrder) -> RunPlan:
    from pkgindex_mirror.commands.live_view import watching
    from pkgindex_mirror.commands.opened_mirrors import opened_mirror, opened_upstream, planning

    async with (
        opened_mirror(order, Path.cwd(), "read") as mirror,
        opened_upstream(mirror) as upstream,
        watching(mirror.progress),
    ):
        await mirror.target.open()
        return await planning(mirror, upstream).run()


def _lines(made: RunPlan) -> Iterator[str]:
    from pkgindex_mirror.commands.report_lines import remark_lines

    yield (
        f"projects   {made.listed:,} listed, {made.chosen:,} chosen: {made.new:,} new, {made.changed:,} changed,"
        f" {made.due_again:,} due again, {made.resting:,} left alone after failures"
    )
    yield f"publish    {made.publish:,} projects"
    yield f"fetch      {_amount(made.fetch)}"
    yield f"delete     {_amount(made.delete)}"
    yield f"keep       {_amount(made.keep)} of these projects, {_amount(made.unchanged)} of the others"
    if made.vanished:
        shown = ", ".join(made.vanished[:_SHOWN]) + (" …" if len(made.vanished) > _SHOWN else "")
        yield f"gone       {len(made.vanished):,} projects are not listed any more (policy: {made.vanished_policy}): {shown}"
    if made.unchosen:
        yield f"unchosen   {made.unchosen:,} mirrored projects are refused by their names now; `prune` removes them"
    for word, left in sorted(made.filters.items()):
        yield f"filter     {word}: leaves out {left.projects:,} projects, {left.files:,} files ({_bytes(left.bytes)})"
    for warning in made.warnings:
        yield f"warning    {warning}"
    for line in remark_lines(made.remarks):
        yield line.replace("note: ", "note       ", 1)
    for failure in made.failures[:_SHOWN]:
        yield f"failed     {failure}"


def _amount(amount: Amount) -> str:
    unknown = f", {amount.unknown:,} of unknown size" if amount.unknown else ""
    return f"{amount.files:,} files ({_bytes(amount.bytes)}{unknown})"


def _bytes(count: int) -> str:
    from pkgindex_mirror.amounts import amount

    return amount(count)
