"""`pkgindex-serve backup` and `restore`: keep copies of the whole store elsewhere, and bring one back.

Exit status: 0 complete; 3 done, but files are lost or damaged, which the report names; 1 stopped with an error. The same command
continues after a stop.
"""

from __future__ import annotations

from typing import Any

import click
import msgspec

from pkgindex_core.clock import to_rfc3339
from pkgindex_core.commands.helping import Group, command, group
from pkgindex_core.commands.progress import progress_bar
from pkgindex_core.commands.telling import talk, tell
from pkgindex_core.config import Settings
from pkgindex_core.errors import Corrupt
from pkgindex_http.commands.common import asynchronous, opened, settings_options
from pkgindex_http.commands.moving import end


class _TakeByDefault(Group):
    """A group whose default command is `take`: `backup URL` is `backup take URL`."""

    def resolve_command(
        self, context: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in self.commands and not args[0].startswith("-"):
            args = ["take", *args]
        return super().resolve_command(context, args)

    def parse_args(self, context: click.Context, args: list[str]) -> list[str]:
        if args and args[0].startswith("-") and args[0] not in context.help_option_names:
            args = ["take", *args]
        return super().parse_args(context, args)


@group(cls=_TakeByDefault)
def backup() -> None:
    """Back up the whole store: `backup URL` copies what is new; `backup list URL` and `backup verify URL` read backups."""


@backup.command("take")
@settings_options
@click.argument("url")
@click.option("--keep", type=click.IntRange(min=1), metavar="N", help="Remove all but the newest N backups.")
@click.option("--without-cached", is_flag=True, help="Leave out files of mirrors, which can be fetched again.")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON document.")
@asynchronous
async def take(url: str, keep: int | None, without_cached: bool, as_json: bool, settings: Settings) -> None:
    """Back up the whole store into a directory or to a URL of fsspec, such as s3://bucket/prefix. Later backups copy what is new.

    Servers may run meanwhile. `backup URL` is the same command. Backups have hashes of passwords and tokens, and credentials for
    upstreams: directories and files are for their owner only, and a bucket must be as private.
    """
    from pkgindex_core.composition.backup_places import opened_backups

    async with opened(settings) as engine, opened_backups(url, settings) as place:
        with progress_bar("Backing up") as progress:
            done = await engine.taking_backups.take(
                place,
                identity=await engine.uuid(),
                cached=not without_cached,
                keep=keep or 0,
                progress=progress,
            )
    talk(
        f"{place.url} has the backup {done.name} of {done.total_blobs} files: {done.commits} commits and {done.blobs} files"
        f" ({done.bytes} bytes) were added"
    )
    if done.removed:
        talk(f"removed: {len(done.removed)} old backups and {done.removed_blobs} files")
    _tell_lost(done.lost, "are lost in the store: an index lists them, but their bytes are missing or damaged")
    end(msgspec.to_builtins(done), as_json=as_json, whole=not done.lost)


@backup.command("list")
@settings_options
@click.argument("url")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON document.")
@asynchronous
async def list_backups(url: str, as_json: bool, settings: Settings) -> None:
    """List the complete backups, the newest last: name, serial, time, files, and lost files."""
    from pkgindex_core.composition.backup_places import opened_backups

    async with opened_backups(url, settings) as place:
        await place.identity()
        found, is_whole = [], True
        for name in await place.names():
            try:
                found.append(await place.backup(name))
            except Corrupt as error:
                tell(error)
                is_whole = False
    rows: list[dict[str, Any]] = [
        {
            "name": each.name,
            "serial": each.serial,
            "at": to_rfc3339(each.at),
            "blobs": each.blobs + each.copies,
            "lost": each.lost,
        }
        for each in found
    ]
    for row in [] if as_json else rows:
        click.echo(f"{row['name']}\t{row['serial']}\t{row['at']}\t{row['blobs']}\t{len(row['lost'])}")
    end(rows, as_json=as_json, whole=is_whole)


@backup.command("verify")
@settings_options
@click.argument("url")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON document.")
@asynchronous
async def verify_backups(url: str, as_json: bool, settings: Settings) -> None:
    """Read all commits and files of all backups, and compare them with their digests.

    Damaged files are moved to `damaged` beside the files. The next `backup` copies them again, and the missing ones, if the store has them.
    """
    from pkgindex_core.composition.backup_places import opened_backups
    from pkgindex_core.services.moving.backups.checking import check

    async with opened_backups(url, settings) as place:
        with progress_bar("Verifying") as progress:
            done = await check(place, progress=progress)
    talk(f"{done.backups} backups with {done.commits} commits and {done.blobs} files ({done.bytes} bytes) were read")
    for problem in done.problems:
        talk(f"  {problem}")
    if done.problems:
        talk(f"hint: take a new backup, which copies what the store still has: pkgindex-serve backup {place.url}")
    end(msgspec.to_builtins(done), as_json=as_json, whole=not done.problems)


@command()
@settings_options
@click.argument("url")
@click.option(
    "--at",
    default="",
    metavar="SERIAL|DATE|NAME",
    help="The newest backup that is not after this serial, day or time, or the one of this name.  [default: the newest]",
)
@click.option("--json", "as_json", is_flag=True, help="Print a JSON document.")
@asynchronous
async def restore(url: str, at: str, as_json: bool, settings: Settings) -> None:
    """Restore a backup into an empty data directory or into empty stores, or continue a restore.

    Serials, times, authors and the identity of the store stay the same. Every file is compared with its digest. No server starts on the
    store before the restore has ended.
    """
    from pkgindex_core.composition.backup_places import opened_backups

    async with opened_backups(url, settings) as place:
        identity = await place.identity()
        chosen = await place.chosen(at)
        talk(f"restoring the backup {chosen.name}: commits 1 to {chosen.serial}, taken at {to_rfc3339(chosen.at)}")
        async with opened(settings, create=True, restoring=identity) as engine:
            with progress_bar("Restoring") as progress:
                done = await engine.restoring.restore(place, chosen, progress=progress)
    talk(
        f"the store is at commit {done.serial}: {done.commits} commits and {done.blobs} files ({done.bytes} bytes) were added"
    )
    _tell_lost(done.lost, "are listed without their bytes: they were lost before the backup, or are damaged in it")
    end(msgspec.to_builtins(done), as_json=as_json, whole=not done.lost)


def _tell_lost(lost: list[str], what: str) -> None:
    if lost:
        talk(f"{len(lost)} files {what}:")
    for told in lost:
        talk(f"  {told}")
