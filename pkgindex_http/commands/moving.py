"""`pkgindex-serve import`: takes over the store of another program.

Exit status: 0 complete; 3 done, but something was left out, which the report names; 1 stopped with an error. The same
command continues after a stop.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click
import msgspec

from pkgindex_core.commands.helping import group
from pkgindex_core.commands.progress import progress_bar
from pkgindex_core.commands.telling import print_json, talk
from pkgindex_core.composition.data_directory import PASSWORD_FILE
from pkgindex_core.config import Settings
from pkgindex_core.rules.permissions import ROOT
from pkgindex_http.commands.common import asynchronous, opened, settings_options

if TYPE_CHECKING:
    from pkgindex_core.engine import Engine
    from pkgindex_core.services.moving.importing.report import ImportReport

NOT_ALL: Final = 3
"""Exit status: done, but something was left out or lost."""


@group("import")
def import_() -> None:
    """Import a whole store of another program: `import devpi DIR` a directory of devpi-export."""


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
