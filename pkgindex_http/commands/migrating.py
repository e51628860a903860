"""`pkgindex-serve migrate`: copies a store to another index store, another blob store, or both.

Exit status: 0 complete; 3 done, but files are lost, which the report names; 1 stopped with an error. The same command continues after a
stop, and adds what is new.
"""

from __future__ import annotations

import click
import msgspec

from pkgindex_core.commands.helping import command
from pkgindex_core.commands.progress import progress_bar
from pkgindex_core.commands.telling import talk
from pkgindex_core.config import Settings
from pkgindex_core.errors import Refused
from pkgindex_http.commands.common import asynchronous, opened, settings_options
from pkgindex_http.commands.moving import end


@command()
@settings_options
@click.option("--to-store", default="", metavar="URL", help="The index store to fill.  [default: the present one]")
@click.option("--to-blobs", default="", metavar="URL", help="The blob store to fill.  [default: the present one]")
@click.option("--without-cached", is_flag=True, help="Leave out files of mirrors, which can be fetched again.")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON document.")
@asynchronous
async def migrate(to_store: str, to_blobs: str, without_cached: bool, as_json: bool, settings: Settings) -> None:
    """Copy the store to another index store, another blob store, or both, or add the changes since the last copy.

    Servers may run meanwhile. Stop them, run the command once more, and start them with the new URLs.
    """
    if not to_store and not to_blobs:
        raise Refused("there is nothing to migrate", hint="name --to-store, --to-blobs or both")
    mirrored = "" if to_blobs and settings.mirrored_blobs.startswith(settings.blobs) else settings.mirrored_blobs
    target = msgspec.structs.replace(
        settings, store=to_store or settings.store, blobs=to_blobs or settings.blobs, mirrored_blobs=mirrored
    )
    async with opened(settings) as engine:
        identity = await engine.uuid()
        async with opened(target, create=True, restoring=identity) as other:
            with progress_bar("Migrating") as progress:
                done = await engine.migrating.migrate(
                    other.store, other.blobs, identity=identity, cached=not without_cached, progress=progress
                )
    talk(
        f"{target.store} with {target.blobs} is at commit {done.head}: {done.commits} commits and {done.blobs} files"
        f" ({done.bytes} bytes) were added"
    )
    if done.lost:
        talk(f"{len(done.lost)} files are lost: an index lists them, but their bytes are missing or damaged:")
    for told in done.lost:
        talk(f"  {told}")
    end(msgspec.to_builtins(done), as_json=as_json, whole=not done.lost)
