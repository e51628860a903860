"""Parts that the commands about snapshots and bundles share: the option that names the tree, its locks, and errors in two lines."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, ParamSpec, TypeVar

import click

from pkgindex_core.commands.telling import fail
from pkgindex_core.errors import Conflict, PkgIndexError, Refused, StorageFull, Unavailable
from pkgindex_core.storage_failures import storage_failure

if TYPE_CHECKING:
    from pkgindex_mirror.snapshots.listings import FileChange, SnapshotFile, SnapshotHead
    from pkgindex_mirror.snapshots.publishing import PublishedNames
    from pkgindex_mirror.snapshots.taking import Snapshots

P = ParamSpec("P")
T = TypeVar("T")

DISK_STATUS = 5
"""The exit status when a disk is full."""

root_option = click.option(
    "--root",
    required=True,
    metavar="DIR",
    type=click.Path(path_type=Path),
    help="The tree: the directory of a mirror (with `web` in it), or a published tree.",
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print a JSON document.")


class WorkedOn:
    """A tree on which a command works, as `snapshot_work.SnapshotWork` and for bundles."""

    def __init__(self, snapshots: Snapshots, names: PublishedNames) -> None:
        self.snapshots = snapshots
        self.names = names

    def current(self) -> dict[str, int]:
        return self.names.current()

    def numbers(self) -> Sequence[int]:
        return self.snapshots.places.numbers()

    def heads(self) -> Sequence[SnapshotHead]:
        return self.snapshots.heads()

    def head(self, number: int) -> SnapshotHead:
        return self.snapshots.head(number)

    def number_of(self, word: str) -> int:
        return self.snapshots.number_of(word, self.names.current())

    def files(self, number: int) -> Iterator[SnapshotFile]:
        return self.snapshots.files(number)

    def changes(self, old: int, new: int) -> Iterator[FileChange]:
        return self.snapshots.changes(old, new)

    def take(self, name: str, *, serial: int | None) -> SnapshotHead:
        return self.snapshots.take(name, serial=serial)

    def needed(self) -> dict[int, str]:
        from pkgindex_mirror.bundles.ledger import BundleLedger

        bundled = dict.fromkeys(BundleLedger(self.snapshots.places).read().needed(), "the next bundle goes on from it")
        return bundled | dict.fromkeys(self.names.needed(), "a name points at it, or goes back to it")

    def drop(self, numbers: Sequence[int]) -> None:
        for number in numbers:
            self.snapshots.drop(number)

    def promote(self, number: int, name: str) -> str:
        return f"{self.names.promote(number, name)}"

    def roll_back(self, name: str) -> int:
        return self.names.roll_back(name)

    def withdraw(self, name: str) -> None:
        self.names.withdraw(name)


def reporting(function: Callable[P, T]) -> Callable[P, T]:
    """Print errors in two lines and exit: with status 5 when a disk is full, otherwise 1."""

    @functools.wraps(function)
    def run(*args: P.args, **kwargs: P.kwargs) -> T:
        from pkgindex_mirror.bundles.apply_bundle import BundleRefused

        try:
            return function(*args, **kwargs)
        except BundleRefused as error:
            fail(Refused(str(error)))
        except StorageFull as error:
            fail(error, status=DISK_STATUS)
        except PkgIndexError as error:
            fail(error)
        except OSError as error:
            failure = storage_failure(error, f"at {error.filename or 'a file'}", place="the tree")
            if isinstance(failure, StorageFull):
                fail(failure, status=DISK_STATUS)
            reason = error.strerror or type(error).__name__
            fail(Unavailable(f"{error.filename or 'a file'}: {reason}", hint="mend that, and run the command again"))

    return run


@contextmanager
def working_on(root: Path, *, tree: bool = False, reading: bool = False) -> Iterator[WorkedOn]:
    """Lock the snapshots of a tree, and with `tree` the tree itself, and finish what a command left that died.

    A command that only reads works without the lock while another command holds it.
    """
    from pkgindex_core.clock import SystemClock
    from pkgindex_mirror.snapshots.publishing import PublishedNames
    from pkgindex_mirror.snapshots.taking import Snapshots

    snapshots = Snapshots(root, SystemClock())
    names = PublishedNames(snapshots)
    with ExitStack() as held:
        try:
            held.enter_context(snapshots.places.locked(tree=tree))
        except Conflict:
            if not reading:
                raise
        else:
            snapshots.recover()
            names.recover()
        yield WorkedOn(snapshots, names)


def size_of(text: str) -> int:
    """Read a size such as `4GiB`."""
    from pkgindex_core.formats.quantities import quantity

    found = quantity(text, "bytes")
    if found is None:
        raise Refused(f"{text!r} is no size", hint="write it as 4GiB or 700MiB")
    return int(found)
