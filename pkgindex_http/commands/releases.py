"""`pkgindex-serve upload`, `yank`, `delete` and `explain`: what happens to releases."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import click
import msgspec

from pkgindex_core.config import Settings
from pkgindex_core.errors import Conflict, Denied, Missing, Refused
from pkgindex_core.formats.filenames import candidate_projects
from pkgindex_core.models import PROJECT_STATUSES
from pkgindex_core.names import IndexName, ProjectName, owner, parse_index_name, parse_project_name
from pkgindex_core.protocols import Principal
from pkgindex_http.commands.common import ADMINISTRATOR, asynchronous, opened, print_json, settings_options, talk, tell
from pkgindex_http.commands.helping import command

if TYPE_CHECKING:
    from pkgindex_core.engine import Engine
    from pkgindex_core.rules.explanation import Explanation
    from pkgindex_core.services.writing.uploads import UploadOutcome

_CHUNK = 1024 * 1024
_DOCUMENTATION = ".doc.zip"
_ENDINGS = (".whl", ".tar.gz", ".zip", ".tar.bz2", ".egg")
"""Of what is published out of a directory."""


@command()
@settings_options
@click.argument("files", type=click.Path(path_type=Path), nargs=-1, required=True)
@click.option("--index", "index_name", metavar="USER/INDEX", help="Where to.  [default: the default index]")
@asynchronous
async def upload(files: tuple[Path, ...], index_name: str | None, settings: Settings) -> None:
    """Publish wheels, source distributions and documentation (NAME-VERSION.doc.zip) into the store, as the index's owner.

    Of a directory every distribution in it is published. A file that is refused does not keep the others back; the exit status
    is 1 then.
    """
    index = parse_index_name(index_name or settings.default_index)
    paths = _distributions(files)
    refused = 0
    async with opened(settings) as engine:
        with _progress(paths) as advance:
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
    """The files that were named, and of directories those that are distributions by their name. All problems at once."""
    problems: list[str] = []
    paths: list[Path] = []
    for place in places:
        if place.is_dir():
            found = sorted(path for path in place.iterdir() if path.name.endswith(_ENDINGS) and path.is_file())
            paths += found
            if not found:
                problems.append(f"{place} holds no distribution (a file that ends in {', '.join(_ENDINGS)})")
        elif place.is_file():
            paths.append(place)
        else:
            problems.append(f"there is no file {place}")
    if problems:
        raise Refused(problems, hint="name wheels, source distributions, documentation, or a directory that holds them")
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
    """What a client's form would say. Blocks for a file with an unusual name."""
    from pkgindex_core.formats.archives import inspect_archive
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
        # A name of old times can be cut into project and version in several ways; the archive knows which one is right.
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
@click.option("--index", "index_name", metavar="USER/INDEX", help="Which index.  [default: the default index]")
@click.option("--reason", default="", help="Why, for those who still have it pinned.")
@click.option("--undo", is_flag=True, help="Lift the mark.")
@asynchronous
async def yank(filename: str, index_name: str | None, reason: str, undo: bool, settings: Settings) -> None:
    """Mark a file as yanked: installers take it only when it is pinned exactly (PEP 592)."""
    index = parse_index_name(index_name or settings.default_index)
    async with opened(settings) as engine:
        project = await _project_of(engine, index, filename)
        mark: bool | str = False if undo else (reason or True)
        await engine.releases.yank(index, project, filename, mark, principal=_owner_of(index))
    talk(f"{filename} {'is not yanked any more' if undo else 'yanked'}")


@command()
@settings_options
@click.argument("filename")
@click.option("--index", "index_name", metavar="USER/INDEX", help="Which index.  [default: the default index]")
@click.option("-f", "--force", is_flag=True, help="Also from an index that is not volatile.")
@asynchronous
async def delete(filename: str, index_name: str | None, force: bool, settings: Settings) -> None:
    """Delete a file. Its name stays taken: no other bytes will ever have it."""
    index = parse_index_name(index_name or settings.default_index)
    async with opened(settings) as engine:
        project = await _project_of(engine, index, filename)
        await engine.releases.delete_file(index, project, filename, principal=_owner_of(index), force=force)
    talk(f"{filename} deleted")


@command()
@settings_options
@click.argument("project")
@click.argument("status", type=click.Choice(PROJECT_STATUSES))
@click.option("--index", "index_name", metavar="USER/INDEX", help="Which index.  [default: the default index]")
@click.option("--reason", default="", help="Why; shown on the project's page.")
@asynchronous
async def mark(project: str, status: str, index_name: str | None, reason: str, settings: Settings) -> None:
    """Mark a project: archived and quarantined take no uploads, and quarantined offers no files (PEP 792)."""
    index = parse_index_name(index_name or settings.default_index)
    async with opened(settings) as engine:
        await engine.project_statuses.mark(index, parse_project_name(project), status, reason, principal=ADMINISTRATOR)
    talk(f"{project} is {status} in {index}")


@command()
@settings_options
@click.argument("project")
@click.option("--index", "index_name", metavar="USER/INDEX", help="Which index.  [default: the default index]")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON document.")
@asynchronous
async def explain(project: str, index_name: str | None, as_json: bool, settings: Settings) -> None:
    """Tell which layers give a project's files, which were left out, and why."""
    index = parse_index_name(index_name or settings.default_index)
    async with opened(settings, mirrors=True) as engine:
        story = await engine.explaining.explain(index, parse_project_name(project), principal=ADMINISTRATOR)
    if as_json:
        print_json(msgspec.to_builtins(story))
    else:
        click.echo(explanation_text(story), nl=False)


def explanation_text(story: Explanation) -> str:
    """An explanation for a person."""
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
    lines.extend(f"  hidden: {each.filename} of {each.origin}: {each.reason}" for each in story.hidden)
    return "\n".join(lines) + "\n"


async def _project_of(engine: Engine, index: IndexName, filename: str) -> ProjectName:
    found = await engine.store.find_file(index, filename, candidate_projects(filename))
    if found is None:
        raise Missing("file", filename, hint=f"see the project's page in {index}")
    return found[0]


def _owner_of(index: IndexName) -> Principal:
    return Principal(name=owner(index))


@contextmanager
def _progress(files: tuple[Path, ...]) -> Iterator[Callable[[int], None]]:
    """A bar on a terminal's stderr, nothing elsewhere; yields what to call with the bytes that were read."""
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

    console = Console(stderr=True)
    columns = (TextColumn("Uploading"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("upload", total=sum(path.stat().st_size for path in files))
        yield lambda count: progress.advance(task, count)
