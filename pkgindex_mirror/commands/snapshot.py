"""`pkgindex-mirror snapshot`: states of a tree or of an index that stay as they are, their differences, and the names under which they are served."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pkgindex_core.commands.helping import group
from pkgindex_core.commands.telling import print_json, talk
from pkgindex_mirror.commands.mirror_orders import IndexPlace
from pkgindex_mirror.commands.snapshot_work import SnapshotWork, Work, taking_place
from pkgindex_mirror.commands.trees_beside import json_option, reporting, working_on

if TYPE_CHECKING:
    from pkgindex_mirror.commands.snapshot_work import Head
    from pkgindex_mirror.snapshots.listings import FileChange


@group()
def snapshot() -> None:
    """Keep states of a tree or of an index, compare them, and serve them under names."""


@snapshot.command()
@taking_place
@click.option("--name", default="", help="A name for it, such as before-upgrade.")
@click.option(
    "--serial", type=int, help="The serial of the mirror.  [default: the one in the file `status` of the tree]"
)
@click.option("--if-changed", is_flag=True, help="Keep the newest snapshot instead, if all is still as it was.")
@click.option("--keep", type=click.IntRange(1), metavar="K", help="Drop the oldest snapshots beyond K afterwards.")
@click.option(
    "--advisories",
    default="",
    metavar="FEED",
    help="Put a feed of advisories (a zip file of OSV records, or its URL) into the tree first, for bundles.",
)
@json_option
@reporting
def create(
    *,
    place: Path | IndexPlace,
    name: str,
    serial: int | None,
    if_changed: bool,
    keep: int | None,
    advisories: str,
    as_json: bool,
) -> None:
    """Take a snapshot of the tree or index as it is now."""
    if advisories and not isinstance(place, Path):
        raise click.UsageError("--advisories puts a feed into a tree: name one with --root")
    with _working(place, "take") as worked:
        if isinstance(place, Path) and advisories:
            import asyncio

            from pkgindex_mirror.advisories.carrying import carry_feed

            asyncio.run(carry_feed(advisories, place))
        before = worked.numbers()[-1:]
        head = worked.take(name, serial=serial)
        if if_changed and before and next(worked.changes(before[0], head.number), None) is None:
            worked.drop([head.number])
            head = worked.head(before[0])
        if keep is not None:
            _drop_beyond(worked, keep)
    if as_json:
        print_json(_document(head))
    else:
        click.echo(f"{head.number}")
        talk(f"snapshot {head.number}: {head.files} files, {head.bytes} bytes")


@snapshot.command("list")
@taking_place
@json_option
@reporting
def list_snapshots(*, place: Path | IndexPlace, as_json: bool) -> None:
    """List the snapshots, and the names that point at them."""
    with _working(place, "read") as worked:
        heads, names = worked.heads(), worked.current()
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
@taking_place
@click.argument("word", metavar="SNAPSHOT")
@click.option("--files", is_flag=True, help="List its files: sha256, size and path a line.")
@json_option
@reporting
def show(*, place: Path | IndexPlace, word: str, files: bool, as_json: bool) -> None:
    """Show SNAPSHOT: a number, `latest`, its name, or a published name."""
    with _working(place, "read") as worked:
        names = worked.current()
        head = worked.head(worked.number_of(word))
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
@taking_place
@click.argument("old")
@click.argument("new", default="latest")
@json_option
@reporting
def diff(*, place: Path | IndexPlace, old: str, new: str, as_json: bool) -> None:
    """List what is added (+), removed (-) and changed (~) from the snapshot OLD to NEW (default: the newest)."""
    with _working(place, "read") as worked:
        heads = [worked.head(worked.number_of(word)) for word in (old, new)]
        counts = dict.fromkeys(_SIGNS, 0)
        listed = []
        size = 0
        for change in worked.changes(heads[0].number, heads[1].number):
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
@taking_place
@click.argument("words", metavar="SNAPSHOT...", nargs=-1)
@click.option("--keep", type=click.IntRange(1), metavar="K", help="Drop the oldest beyond K.")
@reporting
def drop(*, place: Path | IndexPlace, words: tuple[str, ...], keep: int | None) -> None:
    """Drop snapshots, and the bytes that nothing else has.

    Snapshots that a name points at or would go back to, and the one from which the next bundle goes on, are kept.
    """
    from pkgindex_core.errors import Conflict

    if not words and keep is None:
        raise click.UsageError("name snapshots, or give --keep")
    with _working(place, "drop") as worked:
        needed = worked.needed()
        numbers = [worked.number_of(word) for word in words]
        for number in numbers:
            if number in needed:
                raise Conflict(f"snapshot {number} is needed: {needed[number]}", hint="drop others")
        _drop(worked, [*dict.fromkeys(numbers)])
        if keep is not None:
            _drop_beyond(worked, keep)


@snapshot.command()
@taking_place
@click.argument("word", metavar="SNAPSHOT")
@click.argument("name")
@reporting
def promote(*, place: Path | IndexPlace, word: str, name: str) -> None:
    """Let NAME (dev, test, prod …) point at SNAPSHOT, which may be another name. Prints what is served.

    For a tree NAME is a word, and what is served a directory. For an index NAME is an index, which is made; without a user it is one of the same user.
    """
    with _working(place, "name") as worked:
        head = worked.head(worked.number_of(word))
        served = worked.promote(head.number, name)
    click.echo(served)
    talk(f"{name} is snapshot {head.number}")


@snapshot.command()
@taking_place
@click.argument("name")
@reporting
def rollback(*, place: Path | IndexPlace, name: str) -> None:
    """Let NAME point at the snapshot that it had before."""
    with _working(place, "name") as worked:
        number = worked.roll_back(name)
    click.echo(f"{number}")
    talk(f"{name} is snapshot {number} again")


@snapshot.command()
@taking_place
@click.argument("name")
@reporting
def withdraw(*, place: Path | IndexPlace, name: str) -> None:
    """Stop serving under NAME. Its snapshots stay."""
    with _working(place, "name") as worked:
        worked.withdraw(name)
    talk(f"{name} is withdrawn")


def _working(place: Path | IndexPlace, work: Work) -> AbstractContextManager[SnapshotWork]:
    """Work on the snapshots of a tree or of an index, and finish what a command left that died."""
    if isinstance(place, Path):
        return working_on(place, tree=work == "take", reading=work == "read")
    from pkgindex_mirror.commands.indexes_beside import working_on_index

    return working_on_index(place, work)


_SIGNS = {"added": "+", "removed": "-", "changed": "~"}


def _kind(change: FileChange) -> str:
    if change.old is None:
        return "added"
    return "removed" if change.new is None else "changed"


def _files(worked: SnapshotWork, head: Head, wanted: bool) -> Any:
    return worked.files(head.number if wanted else 0)


def _drop_beyond(worked: SnapshotWork, keep: int) -> None:
    """Drop the oldest beyond a number, without those that something needs."""
    numbers, needed = worked.numbers(), worked.needed()
    _drop(worked, [number for number in numbers[: max(0, len(numbers) - keep)] if number not in needed])


def _drop(worked: SnapshotWork, numbers: Sequence[int]) -> None:
    worked.drop(numbers)
    for number in numbers:
        talk(f"snapshot {number} dropped")


def _document(head: Head, names: dict[str, int] | None = None) -> dict[str, Any]:
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
