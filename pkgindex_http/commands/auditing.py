"""`pkgindex-serve audit`: the log of changes for an auditor."""

from __future__ import annotations

import sys
from pathlib import Path

import click
import msgspec

from pkgindex_core.commands.helping import group
from pkgindex_core.commands.telling import talk
from pkgindex_core.config import Settings
from pkgindex_core.formats.audit_chain import BrokenChain, Checkpoint, check_lines, read_checkpoint
from pkgindex_core.models import Serial
from pkgindex_http.commands.common import asynchronous, opened, settings_options

_checkpoint_option = click.option(
    "--checkpoint",
    "checkpoint_file",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="Compare with a checkpoint that was kept elsewhere.",
)


@group()
def audit() -> None:
    """Check and export the log of changes, which is chained by hashes."""


@audit.command("verify")
@settings_options
@_checkpoint_option
@click.option(
    "--file",
    "file",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="Check the lines of an export instead of the store.",
)
@asynchronous
async def verify_chain(checkpoint_file: Path | None, file: Path | None, settings: Settings) -> None:
    """Check that no commit was changed, removed or added behind the back of the server. Names the first serial that is wrong, with status 1."""
    checkpoint = read_checkpoint(checkpoint_file.read_bytes()) if checkpoint_file is not None else None
    if file is not None:
        _verify_file(file, checkpoint)
        return
    async with opened(settings, mirrors=False) as engine:
        found = await engine.auditing.check(checkpoint)
    if isinstance(found, BrokenChain):
        _broken(found)
        return
    talk(f"the chain holds: {found.serial} commits, {found.compared} of them compared with kept hashes")
    click.echo(found.hash)


@audit.command("export")
@settings_options
@click.option("--after", type=click.IntRange(0), default=0, show_default=True, help="The serial after which to begin.")
@asynchronous
async def export_log(after: int, settings: Settings) -> None:
    """Write the log of changes, a JSON object a line, with hashes and without secrets. `audit verify --file` checks it anywhere."""
    async with opened(settings, mirrors=False) as engine:
        async for line in engine.auditing.lines(Serial(after)):
            sys.stdout.buffer.write(msgspec.json.encode(line) + b"\n")


@audit.command("checkpoint")
@settings_options
@asynchronous
async def make_checkpoint(settings: Settings) -> None:
    """Print the hash of the newest commit, to be kept on another machine."""
    async with opened(settings, mirrors=False) as engine:
        made = await engine.auditing.checkpoint()
    click.echo(msgspec.json.encode(made).decode())


def _verify_file(file: Path, checkpoint: Checkpoint | None) -> None:
    with file.open("rb") as lines:
        found = check_lines(lines, checkpoint)
    if isinstance(found, BrokenChain):
        _broken(found)
    elif found is None:
        talk("there are no lines")
    else:
        talk(f"the chain holds up to commit {found.serial}")
        click.echo(found.hash)


def _broken(found: BrokenChain) -> None:
    talk(f"the chain is broken at commit {found.serial}: {found.reason}")
    raise SystemExit(1)
