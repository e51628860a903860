"""`pkgindex-mirror snapshot`: states of a tree that stay as they are, their differences, and the names under which they are served."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pkgindex_core.commands.helping import group
from pkgindex_core.commands.telling import print_json, talk
from pkgindex_mirror.commands.trees_beside import json_option, reporting, root_option, working_on

if TYPE_CHECKING:
    from pkgindex_mirror.commands.trees_beside import WorkedOn
    from pkgindex_mirror.snapshots.listings import FileChange, SnapshotHead


@group()
def snapshot() -> None:
    """Keep states of a tree, compare them, and serve them under names."""


@snapshot.command()
@root_option
@click.option("--name", default="", help="A name for it, such as before-upgrade.")
@click.option("--serial", type=int, help="The serial of the mirror.  [default: the one in its file `status`]")
@click.option("--if-changed", is_flag=True, help="Keep the newest snapshot instead, if the tree is still as it was.")
@click.option("--keep", type=click.IntRange(1), metavar="K", help="Drop the oldest snapshots beyond K afterwards.")
@json_option
@reporting
def create(root: Path, *, name: str, serial: int | None, if_changed: bool, keep: int | None, as_json: bool) -> None:
    """Take a snapshot of the tree as it is now."""
    with working_on(root, tree=True) as worked:
        before = worked.snapshots.places.numbers()[-1:]
        head = worked.snapshots.take(name, serial=serial)
        if if_changed and before and next(worked.snapshots.changes(before[0], head.number), None) is None:
            worked.snapshots.drop(head.number)
            head = worked.snapshots.head(before[0])
        if keep is not None:
            _drop_beyond(worked, keep)
    if as_json:
        print_json(_document(head))
    else:
        click.echo(f"{head.number}")
        talk(f"snapshot {head.number}: {head.files} files, {head.bytes} bytes")


@snapshot.command("list")
@root_option
@json_option
@reporting
def list_snapshots(root: Path, *, as_json: bool) -> None:
    """List the snapshots, and the names that point at them."""
    with working_on(root, reading=True) as worked:
        heads, names = worked.snapshots.heads(), worked.names.current()
    if as_json:
        print_json([_document(head, names) for head in heads])
        return
    for head in heads:
        told = _document(head, names)
        shown = ", ".join([*([head.name] if head.name else []), *(f"-> {name}" for name in told["published"])])
        serial = "" if head.serial is None else f"  serial {head.serial}"
        click.echo(
            f"{head.number:>5}  {told['created']}  {head.files} files  {head.bytes} bytes{serial}  {shown}".rstrip()
        )


@snapshot.command()
@root_option
@click.argument("word", metavar="SNAPSHOT")
@click.option("--files", is_flag=True, help="List its files: sha256, size and path a line.")
@json_option
@reporting
def show(root: Path, word: str, *, files: bool, as_json: bool) -> None:
    """Show SNAPSHOT: a number, `latest`, its name, or a published name."""
    with working_on(root, reading=True) as worked:
        names = worked.names.current()
        head = worked.snapshots.find(word, names)
        told = _document(head, names)
        if as_json:
            listed = [
                {"path": each.path, "sha256": each.sha256, "size": each.size} for each in _files(worked, head, files)
            ]
            print_json(told | ({"files_listed": listed} if files else {}))
            return
        if not files:
            for key, value in told.items():
                click.echo(f"{key}: {', '.join(value) if isinstance(value, list) else value}")
        for each in _files(worked, head, files):
            click.echo(f"{each.sha256} {each.size} {each.path}")


@snapshot.command()
@root_option
@click.argument("old")
@click.argument("new", default="latest")
@json_option
@reporting
def diff(root: Path, old: str, new: str, *, as_json: bool) -> None:
    """List what is added (+), removed (-) and changed (~) from the snapshot OLD to NEW (default: the newest)."""
    with working_on(root, reading=True) as worked:
        names = worked.names.current()
        heads = [worked.snapshots.find(word, names) for word in (old, new)]
        counts = dict.fromkeys(_SIGNS, 0)
        listed = []
        size = 0
        for change in worked.snapshots.changes(heads[0].number, heads[1].number):
            word = _kind(change)
            counts[word] += 1
            size += change.new.size if change.new is not None else 0
            if as_json:
                listed.append({"change": word, "path": change.path, "size": change.new.size if change.new else None})
            else:
                click.echo(f"{_SIGNS[word]} {change.path}")
    if as_json:
        print_json({"old": heads[0].number, "new": heads[1].number, **counts, "bytes": size, "changes": listed})
    else:
        told = ", ".join(f"{count} {word}" for word, count in counts.items())
        talk(f"from snapshot {heads[0].number} to {heads[1].number}: {told}, {size} bytes new")


@snapshot.command()
@root_option
@click.argument("words", metavar="SNAPSHOT...", nargs=-1)
@click.option("--keep", type=click.IntRange(1), metavar="K", help="Drop the oldest beyond K.")
@reporting
def drop(root: Path, words: tuple[str, ...], *, keep: int | None) -> None:
    """Drop snapshots, and the bytes that no other snapshot and no tree has.

    Snapshots that a name points at or would go back to, and the one from which the next bundle goes on, are kept.
    """
    from pkgindex_core.errors import Conflict

    if not words and keep is None:
        raise click.UsageError("name snapshots, or give --keep")
    with working_on(root) as worked:
        needed = _needed(worked)
        names = worked.names.current()
        numbers = [worked.snapshots.number_of(word, names) for word in words]
        for number in numbers:
            if number in needed:
                raise Conflict(f"snapshot {number} is needed: {needed[number]}", hint="drop others")
        for number in dict.fromkeys(numbers):
            worked.snapshots.drop(number)
            talk(f"snapshot {number} dropped")
        if keep is not None:
            _drop_beyond(worked, keep)


@snapshot.command()
@root_option
@click.argument("word", metavar="SNAPSHOT")
@click.argument("name")
@reporting
def promote(root: Path, word: str, name: str) -> None:
    """Let NAME (dev, test, prod …) point at SNAPSHOT, which may be another name. Prints the directory to serve."""
    with working_on(root) as worked:
        head = worked.snapshots.find(word, worked.names.current())
        place = worked.names.promote(head.number, name)
    click.echo(f"{place}")
    talk(f"{name} is snapshot {head.number}")


@snapshot.command()
@root_option
@click.argument("name")
@reporting
def rollback(root: Path, name: str) -> None:
    """Let NAME point at the snapshot that it had before."""
    with working_on(root) as worked:
        number = worked.names.roll_back(name)
    click.echo(f"{number}")
    talk(f"{name} is snapshot {number} again")


@snapshot.command()
@root_option
@click.argument("name")
@reporting
def withdraw(root: Path, name: str) -> None:
    """Stop serving under NAME. Its snapshots stay."""
    with working_on(root) as worked:
        worked.names.withdraw(name)
    talk(f"{name} is withdrawn")


_SIGNS = {"added": "+", "removed": "-", "changed": "~"}


def _kind(change: FileChange) -> str:
    if change.old is None:
        return "added"
    return "removed" if change.new is None else "changed"


def _files(worked: WorkedOn, head: SnapshotHead, wanted: bool) -> Any:
    return worked.snapshots.files(head.number if wanted else 0)


def _needed(worked: WorkedOn) -> dict[int, str]:
    """The snapshots that are not dropped, each with the reason."""
    from pkgindex_mirror.bundles.ledger import BundleLedger

    bundled = dict.fromkeys(BundleLedger(worked.snapshots.places).read().needed(), "the next bundle goes on from it")
    return bundled | dict.fromkeys(worked.names.needed(), "a name points at it, or goes back to it")


def _drop_beyond(worked: WorkedOn, keep: int) -> None:
    for number in worked.snapshots.beyond(keep, _needed(worked)):
        worked.snapshots.drop(number)
        talk(f"snapshot {number} dropped")


def _document(head: SnapshotHead, names: dict[str, int] | None = None) -> dict[str, Any]:
    from pkgindex_core.clock import to_rfc3339

    return {
        "number": head.number,
        "name": head.name,
        "created": to_rfc3339(head.created),
        "serial": head.serial,
        "files": head.files,
        "bytes": head.bytes,
        "published": [name for name, number in (names or {}).items() if number == head.number],
    }
