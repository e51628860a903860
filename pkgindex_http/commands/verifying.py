"""`pkgindex-serve verify`: finds damaged and lost files of the store, and repairs them.

Exit status: 0 when the store is whole or was repaired; 3 when something is damaged or lost; 1 when it stopped with an error. The
same command continues after a stop.
"""

from __future__ import annotations

import asyncio
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pkgindex_core.commands.helping import command
from pkgindex_core.commands.progress import progress_bar
from pkgindex_core.commands.telling import talk
from pkgindex_core.config import Settings
from pkgindex_core.engines.local.blobs import path_of
from pkgindex_core.services.administering.verified_record import open_record
from pkgindex_http.commands.common import asynchronous, opened, settings_options
from pkgindex_http.commands.moving import end

if TYPE_CHECKING:
    from pkgindex_core.services.administering.verifying import BlobTrouble, Repairable, Verified

_MIB = 1 << 20


def _existing(_context: click.Context, _option: click.Parameter, url: str | None) -> str | None:
    """Refuse a directory that does not exist: opening the store would make it."""
    if url is not None and url.startswith("file:") and not path_of(url).is_dir():
        raise click.BadParameter(f"there is no directory {path_of(url)}")
    return url


@command()
@settings_options
@click.option("--repair", is_flag=True, help="Move damaged files aside, and fetch or rebuild those that can be.")
@click.option("--dry-run", is_flag=True, help="Tell what --repair would do, and change nothing.")
@click.option(
    "--from",
    "other",
    metavar="URL",
    callback=_existing,
    help="Blob store with intact files, such as that of a backup: --repair takes uploaded files from there.",
)
@click.option(
    "--rate",
    type=click.IntRange(min=0),
    default=100,
    show_default=True,
    metavar="MIB",
    help="MiB to read a second; 0 for no limit.",
)
@click.option(
    "--metadata",
    is_flag=True,
    help="Also compare the metadata of each uploaded wheel with that in the wheel. With --repair the wheel's takes its place.",
)
@click.option("--anew", is_flag=True, help="Begin again instead of continuing an earlier verification.")
@click.option(
    "--renew-checksums",
    is_flag=True,
    help="First write new page checksums of the database. Stop the server before. Needed after another program has written to the"
    " database, or if it has no checksums.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the report as a JSON document.")
@asynchronous
async def verify(
    repair: bool,
    dry_run: bool,
    other: str | None,
    rate: int,
    metadata: bool,
    anew: bool,
    renew_checksums: bool,
    as_json: bool,
    settings: Settings,
) -> None:
    """Read all files of the store and compare them with their digests; check the database.

    A server may run meanwhile. Damaged files are never deleted: `--repair` moves them to `damaged` in the blob store, fetches
    mirrored files again, takes metadata from its wheel, and lists the uploads that must be sent again.
    """
    repair = repair and not dry_run
    async with (
        opened(settings, mirrors=repair, renew_checksums=renew_checksums) as engine,
        engine.other_blobs(other) if other else nullcontext() as intact,
    ):
        with open_record(Path(settings.data), anew=anew) as record, progress_bar("Verifying") as progress:
            if len(record):
                talk(f"continuing: an earlier verification found {len(record)} files whole")
            found = await engine.verifying.verify(record, rate=rate * _MIB, pause=asyncio.sleep, progress=progress)
            if metadata:
                throttle = engine.verifying.throttle(rate * _MIB, asyncio.sleep)
                await engine.wheel_metadata.compare(found, record, throttle=throttle, progress=progress)
            if dry_run:
                await engine.repairing.foresee(found, other=intact)
            if repair:
                await engine.repairing.repair(found, progress=progress, other=intact)
            record.end()
    _tell(found)
    end(_document(found), as_json=as_json, whole=found.whole)


def _tell(found: Verified) -> None:
    for problem in found.database:
        talk(f"database: {problem}")
    for trouble in found.troubles:
        outcome = f", {trouble.outcome}" if trouble.outcome else ""
        talk(f"{trouble.state}{outcome}: {_owners(trouble)} (sha256 {trouble.sha256})")
        _tell_more(trouble)
    for difference in found.differing:
        outcome = f", {difference.outcome}" if difference.outcome else ""
        owner = difference.owner
        talk(f"differs from the metadata in its wheel{outcome}: {owner.told()} (sha256 {owner.key})")
        _tell_more(difference)
    left = sum(trouble.outcome != "repaired" for trouble in found.troubles)
    talk(
        f"{found.blobs} files ({found.bytes} bytes) were read, {len(found.troubles)} are damaged or lost, {left} of them still;"
        f" {found.unused} files ({found.unused_bytes} bytes) belong to no index"
    )
    if found.unused:
        talk("hint: pkgindex-serve gc removes files that belong to no index")
    if any(not (each.outcome or each.plan) for each in found.wrong):
        talk("hint: pkgindex-serve verify --repair fetches or rebuilds the files that can be")


def _tell_more(trouble: Repairable) -> None:
    if trouble.plan:
        talk(f"  a repair would do this: {trouble.plan}")
    if trouble.reason and trouble.outcome != "repaired":
        talk(f"  {trouble.reason}")


def _owners(trouble: BlobTrouble) -> str:
    return "; ".join(owner.told() for owner in trouble.owners) or "belongs to no index"


def _document(found: Verified) -> dict[str, Any]:
    return {
        "whole": found.whole,
        "database": found.database,
        "files": found.blobs,
        "bytes": found.bytes,
        "skipped": found.skipped,
        "unused": {"files": found.unused, "bytes": found.unused_bytes},
        "differing": [
            {
                "index": each.owner.index,
                "project": each.owner.project,
                "filename": each.owner.file.filename,
                "told": each.owner.told(),
                "outcome": each.outcome or None,
                "reason": each.reason or None,
                "plan": each.plan or None,
            }
            for each in found.differing
        ],
        "troubles": [
            {
                "sha256": trouble.sha256,
                "state": trouble.state,
                "outcome": trouble.outcome or None,
                "reason": trouble.reason or None,
                "plan": trouble.plan or None,
                "belongs_to": [
                    {
                        "index": owner.index,
                        "project": owner.project,
                        "filename": owner.file.filename,
                        "role": owner.role,
                        "told": owner.told(),
                    }
                    for owner in trouble.owners
                ],
            }
            for trouble in found.troubles
        ],
    }
