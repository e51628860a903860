"""`pkgindex-serve history`: the history of a file in every index that has it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import click
import msgspec

from pkgindex_core.clock import to_rfc3339
from pkgindex_core.commands.helping import command
from pkgindex_core.commands.telling import print_json
from pkgindex_core.config import Settings
from pkgindex_core.errors import Missing
from pkgindex_core.formats.filenames import candidate_projects
from pkgindex_core.models import Event
from pkgindex_core.names import IndexName, parse_index_name
from pkgindex_core.protocols import Projects, ReleaseRecords
from pkgindex_http.commands.common import asynchronous, opened, settings_options

if TYPE_CHECKING:
    from collections.abc import Sequence


class Story(msgspec.Struct, frozen=True, kw_only=True):
    """The history of one file in one index."""

    index: IndexName
    project: str
    filename: str
    sha256: str
    history: tuple[Event, ...]


@command()
@settings_options
@click.argument("filename")
@click.option("--index", "index_name", metavar="USER/INDEX", help="Only this index.  [default: all indexes]")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON document.")
@asynchronous
async def history(filename: str, index_name: str | None, as_json: bool, settings: Settings) -> None:
    """Show the history of a file, documentation or test result: uploads, pushes and overwrites, with user, time and indexes."""
    async with opened(settings) as engine:
        tree = await engine.store.tree()
        hosted = [name for name, each in sorted(tree.indexes.items()) if not each.mirrored]
        if index_name is not None:
            if parse_index_name(index_name) not in tree.indexes:
                raise Missing("index", index_name)
            hosted = [name for name in hosted if name == index_name]
        stories = [story for name in hosted if (story := await _story(engine.store, name, filename)) is not None]
    if not stories:
        raise Missing("file", filename, hint="write the whole filename; files of mirrors have no history")
    if as_json:
        print_json([_document(story) for story in stories])
    else:
        click.echo("\n".join(line for story in stories for line in _lines(story)))


class _Store(Projects, ReleaseRecords, Protocol): ...


async def _story(store: _Store, index: IndexName, filename: str) -> Story | None:
    file = await store.find_file(index, filename, candidate_projects(filename))
    if file is not None:
        project, found = file
        return Story(index=index, project=project, filename=filename, sha256=found.sha256 or "", history=found.history)
    attached = await store.find_attachment(index, filename)
    if attached is None:
        return None
    project, attachment = attached
    return Story(index=index, project=project, filename=filename, sha256=attachment.sha256, history=attachment.history)


def _lines(story: Story) -> Sequence[str]:
    lines = [f"{story.filename} in {story.index}"]
    lines += [f"  {to_rfc3339(each.at)}  {_words(each)}" for each in story.history]
    return lines if story.history else [*lines, "  no events are recorded"]


def _words(event: Event) -> str:
    words = [event.what]
    # An overwrite has no user: the upload or push that caused it is the next event.
    words += [] if event.what == "overwrite" and not event.who else [f"by {event.who or 'anonymous'}"]
    words += [f"from {event.source}"] if event.source else []
    words += [f"to {event.target}"] if event.target else []
    words += [f"({event.count} so far)"] if event.count else []
    return " ".join(words)


def _document(story: Story) -> dict[str, Any]:
    document: dict[str, Any] = msgspec.to_builtins(story)
    document["history"] = [{**msgspec.to_builtins(event), "at": to_rfc3339(event.at)} for event in story.history]
    return document
