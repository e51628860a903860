"""`pkgindex-serve scrub`: one round of the scrub at once, or what the scrub of the servers has found.

Exit status: 0 when no file is damaged, or all were repaired; 3 when one is damaged still; 1 when it stopped with an error. The same
command continues after a stop, and so does a server.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final

import click

from pkgindex_core.clock import Timestamp, to_rfc3339
from pkgindex_core.commands.helping import command
from pkgindex_core.commands.progress import progress_bar
from pkgindex_core.commands.telling import talk
from pkgindex_core.config import Settings
from pkgindex_http.commands.common import asynchronous, opened, settings_options
from pkgindex_http.commands.moving import end

if TYPE_CHECKING:
    from pkgindex_core.services.administering.scrub_state import ScrubState

_MIB: Final = 1 << 20


@command()
@settings_options
@click.option(
    "--rate",
    type=click.IntRange(min=0),
    default=100,
    show_default=True,
    metavar="MIB",
    help="MiB to read a second; 0 for no limit.",
)
@click.option("--anew", is_flag=True, help="Begin a round instead of continuing the one that servers have begun.")
@click.option("--show", is_flag=True, help="Read no files: tell the place of the scrub, and the damage that is known.")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON document.")
@asynchronous
async def scrub(rate: int, anew: bool, show: bool, as_json: bool, settings: Settings) -> None:
    """Read all files of the store, and repair damaged ones, as servers do in the background; or tell what they found.

    Servers may run meanwhile. Damaged files are moved to `damaged` in the blob store, and are not served any more. Files of mirrors
    are fetched again, and metadata is read from its wheel. The others must be uploaded again.
    """
    async with opened(settings, mirrors=not show) as engine:
        if show:
            state = await engine.scrubbing.state()
        else:
            with progress_bar("Scrubbing") as progress:
                state = await engine.scrubbing.scrub(
                    rate=rate * _MIB, anew=anew, pause=asyncio.sleep, progress=progress
                )
    _tell(state)
    end(_document(state), as_json=as_json, whole=not state.damaged)


def _tell(state: ScrubState) -> None:
    for key, found in state.damaged.items():
        talk(f"{found.state}: {'; '.join(found.rows) or 'not yet repaired'} (sha256 {key})")
        if found.reason:
            talk(f"  {found.reason}")
    if not state.begun:
        talk("the store was not scrubbed yet")
        return
    begun = to_rfc3339(state.begun)
    ended = (
        f"ended {to_rfc3339(state.ended)}" if state.is_whole else f"is at {state.after[:4] or 'its beginning'} of ffff"
    )
    talk(
        f"the round that began {begun} {ended}: {state.blobs} files ({state.bytes} bytes) were read, {state.repaired} were repaired,"
        f" {len(state.damaged)} are damaged or lost"
    )


def _document(state: ScrubState) -> dict[str, Any]:
    return {
        "whole": not state.damaged,
        "begun": _moment(state.begun),
        "ended": _moment(state.ended),
        "under_way": bool(state.begun) and not state.is_whole,
        "files": state.blobs,
        "bytes": state.bytes,
        "repaired": state.repaired,
        "damaged": [
            {
                "sha256": key,
                "state": found.state,
                "since": to_rfc3339(found.at),
                "belongs_to": list(found.rows),
                "reason": found.reason or None,
            }
            for key, found in state.damaged.items()
        ],
    }


def _moment(at: Timestamp) -> str | None:
    return to_rfc3339(at) if at else None
