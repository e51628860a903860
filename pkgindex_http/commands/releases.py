"""`pkgindex-serve upload`, `yank`, `delete`, `mark` and `explain`: commands for files and projects."""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import click
import msgspec

from pkgindex_core.commands.helping import command
from pkgindex_core.commands.progress import progress_bar
from pkgindex_core.commands.telling import print_json, talk, tell
from pkgindex_core.config import Settings
from pkgindex_core.errors import Conflict, Denied, Missing, Refused
from pkgindex_core.formats.filenames import candidate_projects
from pkgindex_core.models import PROJECT_STATUSES
from pkgindex_core.names import IndexName, ProjectName, owner, parse_index_name, parse_project_name
from pkgindex_core.protocols import Principal
from pkgindex_http.commands.common import ADMINISTRATOR, asynchronous, index_option, opened, settings_options

if TYPE_CHECKING:
    from pkgindex_core.engine import Engine
    from pkgindex_core.rules.explanation import Explanation, HiddenStory
    from pkgindex_core.services.writing.outcomes import UploadOutcome

_CHUNK = 1024 * 1024
_DOCUMENTATION = ".doc.zip"
_ENDINGS = (".whl", ".tar.gz", ".zip", ".tar.bz2", ".egg")
"""The endings of files that are published from a directory."""


@command()
@settings_options
@click.argument("files", type=click.Path(path_type=Path), nargs=-1, required=True)
@index_option
@asynchronous
async def upload(files: tuple[Path, ...], index_name: str | None, settings: Settings) -> None:
    """Publish wheels, source distributions and documentation (NAME-VERSION.doc.zip) into the store, as the index's owner.

    A directory stands for all distributions in it. If a file is refused the others are still published, and the exit status is 1.
    """
    index = parse_index_name(index_name or settings.default_index)
    paths = _distributions(files)
    refused = 0
    async with opened(settings) as engine:
        sent, total = 0, sum(path.stat().st_size for path in paths)
        with progress_bar("Uploading", in_bytes=True) as progress:

            def advance(count: int) -> None:
                nonlocal sent
                sent += count
                progress("", sent, total)

            for path in paths:
                try:
                    published = await _upload_one(engine, index, path, advance)
                except (Refused, Conflict, Denied) as error:
                    refused += 1
                    click.echo(f"refused\t{index}\t{path.name}")
                    tell(error, about=path.name)
                    continue
                what = "published" if published.created else "unchanged"
                click.echo(f"{what}\t{index}\t{path.name}")
                for warning in published.warnings:
                    talk(f"warning: {path.name}: {warning}")
    if refused:
        talk(f"{refused} of {len(paths)} files refused")
        sys.exit(1)


def _distributions(places: tuple[Path, ...]) -> tuple[Path, ...]:
    """The given files, and the distributions in given directories. Raises `Refused` with all problems."""
    problems: list[str] = []
    paths: list[Path] = []
    for place in places:
        if place.is_dir():
            found = sorted(path for path in place.iterdir() if path.name.endswith(_ENDINGS) and path.is_file())
            paths += found
            if not found:
                problems.append(f"{place} has no distribution (a file that ends in {', '.join(_ENDINGS)})")
        elif place.is_file():
            paths.append(place)
        else:
            problems.append(f"there is no file {place}")
    if problems:
        raise Refused(problems, hint="give wheels, source distributions, documentation, or a directory with them")
    return tuple(paths)


async def _upload_one(engine: Engine, index: IndexName, path: Path, advance: Callable[[int], None]) -> UploadOutcome:
    async with engine.uploads.receive(index, _owner_of(index)) as incoming:
        incoming.field("protocol_version", "1")
        for name, value in _fields_of(path).items():
            incoming.field(name, value)
        await incoming.begin_content(path.name)
        with path.open("rb") as stream:
            while data := stream.read(_CHUNK):
                await incoming.write(data)
                advance(len(data))
        return await incoming.finish()


def _fields_of(path: Path) -> dict[str, str]:
    """The fields that a client's form would have. Blocks for a file with an unusual name."""
    from pkgindex_core.formats.archives.inspecting import inspect_archive
    from pkgindex_core.formats.core_metadata import read_metadata
    from pkgindex_core.formats.filenames import parse_upload_filename
    from pkgindex_core.formats.upload_form import FILETYPES
    from pkgindex_core.formats.upload_rules import LENIENT

    stem = path.name.removesuffix(_DOCUMENTATION)
    if stem != path.name:
        project, _, version = stem.rpartition("-")
        return {":action": "doc_upload", "name": project, "version": version}
    name = parse_upload_filename(path.name, LENIENT)
    if name.warnings:
        # An old name can be split into project and version in several ways. The metadata in the archive tells which is right.
        with suppress(Refused):
            said = read_metadata(inspect_archive(path, name, rules=LENIENT).metadata or b"")
            name = parse_upload_filename(path.name, LENIENT, project=said.name, version=said.version)
    return {
        ":action": "file_upload",
        "name": name.project,
        "version": name.version,
        "filetype": FILETYPES.get(name.kind, ("",))[0],
        "pyversion": name.python_tag,
        "metadata_version": "2.1",
    }


@command()
@settings_options
@click.argument("filename")
@index_option
@click.option("--reason", default="", help="The reason, which installers print for files that are pinned.")
@click.option("--undo", is_flag=True, help="Remove the mark.")
@asynchronous
async def yank(filename: str, index_name: str | None, reason: str, undo: bool, settings: Settings) -> None:
    """Mark a file as yanked: installers use it only when it is pinned exactly (PEP 592)."""
    index = parse_index_name(index_name or settings.default_index)
    async with opened(settings) as engine:
        project = await _project_of(engine, index, filename)
        mark: bool | str = False if undo else (reason or True)
        await engine.releases.yank(index, project, filename, mark, principal=_owner_of(index))
    talk(f"{filename} {'is not yanked any more' if undo else 'yanked'}")


@command()
@settings_options
@click.argument("filename")
@index_option
@click.option("-f", "--force", is_flag=True, help="Needed for an index that is not volatile.")
@asynchronous
async def delete(filename: str, index_name: str | None, force: bool, settings: Settings) -> None:
    """Delete a file. Its name stays taken for ever, except in a volatile index."""
    index = parse_index_name(index_name or settings.default_index)
    async with opened(settings) as engine:
        project = await _project_of(engine, index, filename)
        await engine.releases.delete_file(index, project, filename, principal=_owner_of(index), force=force)
    talk(f"{filename} deleted")


@command()
@settings_options
@click.argument("project")
@click.argument("status", type=click.Choice(PROJECT_STATUSES))
@index_option
@click.option("--reason", default="", help="The reason, which the project's page shows.")
@asynchronous
async def mark(project: str, status: str, index_name: str | None, reason: str, settings: Settings) -> None:
    """Set the status of a project: archived and quarantined take no uploads, and quarantined shows no files (PEP 792)."""
    index = parse_index_name(index_name or settings.default_index)
    async with opened(settings) as engine:
        await engine.project_statuses.mark(index, parse_project_name(project), status, reason, principal=ADMINISTRATOR)
    talk(f"{project} is {status} in {index}")


@command()
@settings_options
@click.argument("project")
@index_option
@click.option("--json", "as_json", is_flag=True, help="Print a JSON document.")
@asynchronous
async def explain(project: str, index_name: str | None, as_json: bool, settings: Settings) -> None:
    """Show which layers give a project's files, which are left out, and why."""
    index = parse_index_name(index_name or settings.default_index)
    async with opened(settings, mirrors=True) as engine:
        story = await engine.explaining.explain(index, parse_project_name(project), principal=ADMINISTRATOR)
    if as_json:
        print_json(msgspec.to_builtins(story))
    else:
        click.echo(explanation_text(story), nl=False)


def explanation_text(story: Explanation) -> str:
    """An explanation as text for people."""
    lines = [f"{story.project} in {story.index}"]
    for layer in story.layers:
        if layer.state == "empty" and layer.joins:
            lines.append(f"  - {layer.index} ({layer.type}): does not have {story.project}")
            continue
        mark = "+" if layer.joins and story.shown.get(layer.index) else "-"
        state = f"{layer.state}, {layer.detail}" if layer.detail else layer.state
        lines.append(
            f"  {mark} {layer.index} ({layer.type}): {state}; {layer.files} files, {story.shown.get(layer.index, 0)} shown"
        )
        lines.append(f"      {layer.reason}")
    lines.extend(f"  ! base {missing} does not exist" for missing in story.missing_bases)
    lines.extend(f"  hidden: {each.filename} of {each.origin}: {each.reason}{_until(each)}" for each in story.hidden)
    lines.extend(f"  warned of: {each.filename} of {each.origin}: {each.reason}" for each in story.warned)
    return "\n".join(lines) + "\n"


def _until(story: HiddenStory) -> str:
    from pkgindex_core.clock import to_rfc3339

    return f" (until {to_rfc3339(story.until)[:19]}Z)" if story.until is not None else ""


async def _project_of(engine: Engine, index: IndexName, filename: str) -> ProjectName:
    found = await engine.store.find_file(index, filename, candidate_projects(filename))
    if found is None:
        raise Missing("file", filename, hint=f"check the filename on the project's page in {index}")
    return found[0]


def _owner_of(index: IndexName) -> Principal:
    return Principal(name=owner(index))
