"""The role of a place with snapshots, which a tree and an index of a server play, so that the commands are the same for both."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

import click

from pkgindex_core.commands.helping import SettingsOption
from pkgindex_core.commands.stores import blobs_option, data_option, store_option
from pkgindex_core.commands.telling import fail
from pkgindex_core.errors import PkgIndexError
from pkgindex_mirror.commands.mirror_orders import index_place

if TYPE_CHECKING:
    from pkgindex_core.clock import Timestamp
    from pkgindex_mirror.snapshots.listings import FileChange, SnapshotFile

Work = Literal["take", "drop", "name", "read"]
"""`name`: what shows a snapshot changes, and no snapshot does."""


class Head(Protocol):
    """All about a snapshot but its files."""

    @property
    def number(self) -> int: ...
    @property
    def name(self) -> str: ...
    @property
    def created(self) -> Timestamp: ...
    @property
    def serial(self) -> int | None: ...
    @property
    def files(self) -> int: ...
    @property
    def bytes(self) -> int: ...


class SnapshotWork(Protocol):
    """The snapshots of one place, and the names that show them."""

    def current(self) -> dict[str, int]:
        """The snapshot of each name."""
        ...

    def numbers(self) -> Sequence[int]: ...

    def heads(self) -> Sequence[Head]: ...

    def head(self, number: int) -> Head: ...

    def number_of(self, word: str) -> int:
        """The number of the snapshot that a word names: a number, `latest`, its name, or a name that shows it."""
        ...

    def files(self, number: int) -> Iterator[SnapshotFile]: ...

    def changes(self, old: int, new: int) -> Iterator[FileChange]: ...

    def take(self, name: str, *, serial: int | None) -> Head: ...

    def needed(self) -> dict[int, str]:
        """The snapshots that are not dropped, each with the reason."""
        ...

    def drop(self, numbers: Sequence[int]) -> None: ...

    def promote(self, number: int, name: str) -> str:
        """Let a name show a snapshot. Returns the place of what is served."""
        ...

    def roll_back(self, name: str) -> int: ...

    def withdraw(self, name: str) -> None: ...


def taking_place(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that name a tree or an index, and call the command with it as `place`."""

    @functools.wraps(command)
    def run(
        root: Path | None, index: str, data: str | None, store: str | None, blobs: str | None, **options: Any
    ) -> Any:
        if (root is None) == (not index):
            raise click.UsageError("name a tree with --root, or an index with --index")
        try:
            place = root or index_place(index, data=data, store=store, blobs=blobs)
        except PkgIndexError as error:
            fail(error)
        return command(place=place, **options)

    taking: Callable[..., Any] = run
    for option in (blobs_option, store_option, data_option, _index_option, _root_option):
        taking = option(taking)
    return taking


_root_option = click.option(
    "--root",
    metavar="DIR",
    type=click.Path(path_type=Path),
    help="The tree: the directory of a mirror (with `web` in it), or a published tree.",
)
_index_option = click.option(
    "--index",
    metavar="USER/INDEX",
    default="",
    cls=SettingsOption,
    help="The index of a server that is the mirror, in the place of a tree.",
)
