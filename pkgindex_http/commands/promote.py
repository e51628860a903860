"""`pkgindex-serve promote`: makes a replica a server of its own, which takes uploads."""

from __future__ import annotations

import click

from pkgindex_core.commands.helping import command
from pkgindex_core.commands.telling import talk
from pkgindex_core.config import Settings
from pkgindex_core.errors import Refused
from pkgindex_core.tools.replica_notes import drop_note
from pkgindex_http.commands.common import asynchronous, opened, settings_options


@command()
@settings_options
@click.option("--yes", is_flag=True, help="The primary is stopped, and will not take uploads again.")
@asynchronous
async def promote(yes: bool, settings: Settings) -> None:
    """Make a replica the primary: its store takes uploads from the next start on.

    Stop the primary for good, and the replica, before. What the primary took and the replica has not copied is lost.
    """
    async with opened(settings) as engine:
        state, head = engine.replica, await engine.store.head()
        if state is None:
            raise Refused("the store is no replica, and takes uploads already")
        if state.note is None or not state.note.everything:
            raise Refused(
                "the replica has a part of its primary only, without users and tokens",
                hint="promote a replica that was made with a token of root, or restore a backup",
            )
        if not state.is_whole(head):
            raise Refused(
                f"the copy is not complete: it has {head} of {state.note.until} commits",
                hint="follow once more, or restore a backup",
            )
        if not yes:
            raise Refused(
                f"two servers would take uploads, if {state.primary} still runs",
                hint="stop it for good, and this replica, and give --yes",
            )
        await drop_note(engine.store)
    talk(f"The store takes uploads now, from commit {head + 1} on. Start it: pkgindex-serve run")
