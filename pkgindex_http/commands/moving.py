"""`pkgindex-serve export` and `import`: write a whole store to a directory, and restore it.

Exit status: 0 complete; 3 done, but something was left out or lost, which the report names; 1 stopped with an error. The same
command continues after a stop.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click
import msgspec

from pkgindex_core.commands.helping import Group, command, group
from pkgindex_core.commands.progress import progress_bar
from pkgindex_core.commands.telling import print_json, talk
from pkgindex_core.composition.data_directory import PASSWORD_FILE
from pkgindex_core.config import Settings
from pkgindex_core.errors import Refused
from pkgindex_core.rules.permissions import ROOT
from pkgindex_core.services.moving.dumps.directory import DumpDirectory
from pkgindex_http.commands.common import asynchronous, opened, settings_options

if TYPE_CHECKING:
    from pkgindex_core.engine import Engine
    from pkgindex_core.formats.store_dump import MissingBlob
    from pkgindex_core.services.moving.importing.report import ImportReport

NOT_ALL: Final = 3
"""Exit status: done, but something was left out or lost."""


class _DumpByDefault(Group):
    """A group whose default command is `dump`: `import DIR` is `import dump DIR`."""

    def resolve_command(
        self, context: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in self.commands and not args[0].startswith("-"):
            args = ["dump", *args]
        return super().resolve_command(context, args)

    def parse_args(self, context: click.Context, args: list[str]) -> list[str]:
        if args and args[0].startswith("-") and args[0] not in context.help_option_names:
            args = ["dump", *args]
        return super().parse_args(context, args)


@command()
@settings_options
@click.argument("directory", type=click.Path(file_okay=False, path_type=Path))
@click.option("--without-cached", is_flag=True, help="Leave out files of mirrors, which can be fetched again.")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON document.")
@asynchronous
async def export(directory: Path, without_cached: bool, as_json: bool, settings: Settings) -> None:
    """Write the whole store into a directory, or add the changes since the last export.

    A server may run meanwhile. The directory has hashes of passwords and tokens, so only its owner may read it.
    """
    dump = DumpDirectory(directory)
    async with opened(settings) as engine:
        identity = await engine.uuid()
        with dump.writing():
            await engine.in_worker(lambda: dump.begin(identity))
            async with engine.other_blobs(dump.blobs_url) as target:
                with progress_bar("Exporting") as progress:
                    done = await engine.exporting.export(dump, target, cached=not without_cached, progress=progress)
    talk(
        f"{directory} has commits 1 to {done.head}: {done.commits} commits and {done.blobs} files"
        f" ({done.bytes} bytes) were added"
    )
    _tell_lost(done.lost, "are lost in the store: the index lists them, but their bytes are missing or damaged")
    end(msgspec.to_builtins(done), as_json=as_json, whole=not done.lost)


@group("import", cls=_DumpByDefault)
def import_() -> None:
    """Import a whole store: `import DIR` a directory of `export`, `import devpi DIR` one of devpi-export."""


@import_.command("dump")
@settings_options
@click.argument("directory", type=click.Path(file_okay=False, exists=True, path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print a JSON document.")
@asynchronous
async def import_dump(directory: Path, as_json: bool, settings: Settings) -> None:
    """Restore a directory of `export` into an empty store, or continue a restore.

    Serials, times, authors and the identity of the store stay the same. Every file is compared with its digest.
    """
    dump = DumpDirectory(directory)
    manifest = dump.manifest()
    if manifest is None:
        raise Refused(
            f"{directory} has no dump",
            hint="give a directory of `pkgindex-serve export`; for one of devpi-export use: pkgindex-serve import devpi DIR",
        )
    async with (
        opened(settings, create=True, restoring=manifest.store) as engine,
        engine.other_blobs(dump.blobs_url) as source,
    ):
        with progress_bar("Restoring") as progress:
            done = await engine.restoring.restore(dump, source, progress=progress)
    talk(
        f"the store is at commit {done.head}: {done.commits} commits and {done.blobs} files ({done.bytes} bytes) were added"
    )
    _tell_lost(done.lost, "were already lost when the dump was made")
    end(msgspec.to_builtins(done), as_json=as_json, whole=not done.lost)


@import_.command("devpi")
@settings_options
@click.argument("directory", type=click.Path(file_okay=False, exists=True, path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print the report as a JSON document.")
@asynchronous
async def import_devpi(directory: Path, as_json: bool, settings: Settings) -> None:
    """Import a directory of `devpi-export`: users with their passwords, indexes, files, documentation, test results.

    Existing content stays unchanged, so the same command continues after a stop. If names collide with other content of the
    store, the import ends before any change.
    """
    async with opened(settings, create=True) as engine:
        with progress_bar("Importing") as progress:
            report = await engine.devpi_import.run(directory, progress=progress)
        password = await _outdated_password_file(engine)
    talk(
        f"added: users {report.users}, indexes {report.indexes}, versions {report.versions}, files {report.files},"
        f" documentation {report.documentation}, test results {report.test_results} ({report.bytes} bytes);"
        f" already here: {report.present}"
    )
    if password is not None:
        talk(f"root has the password of the dump; {password} had the generated one and was removed")
    _tell_remarks(report)
    end({**msgspec.to_builtins(report), "complete": report.complete}, as_json=as_json, whole=report.complete)


def end(report: Any, *, as_json: bool, whole: bool) -> None:
    """Print the report if `as_json`, and exit with `NOT_ALL` unless the result is whole."""
    if as_json:
        print_json(report)
    if not whole:
        sys.exit(NOT_ALL)


async def _outdated_password_file(engine: Engine) -> Path | None:
    """Remove the file with root's generated password if root has another one now; return its path."""
    place = Path(engine.settings.data) / PASSWORD_FILE
    root = await engine.store.user(ROOT)
    if not place.exists() or root is None:
        return None
    if await engine.passwords.verify(root.password_hash, place.read_text().strip()):
        return None
    place.unlink()
    return place


def _tell_remarks(report: ImportReport) -> None:
    for left_out, title in ((False, "imported with a difference"), (True, "left out")):
        remarks = [remark for remark in report.remarks if remark.left_out is left_out]
        if remarks:
            talk(f"{title} ({len(remarks)}):")
        for remark in remarks:
            talk(f"  {remark.kind} {remark.name}: {remark.reason}")


def _tell_lost(lost: list[MissingBlob], what: str) -> None:
    if lost:
        talk(f"{len(lost)} files {what}:")
        for one in lost:
            talk(f"  {one.index} {one.filename} (sha256 {one.sha256})")
