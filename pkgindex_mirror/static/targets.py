"""The role of a target: a place that holds a static tree.

Paths are relative, with `/` between segments. `local_target` and `object_target` play the role.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from collections.abc import Set as AbstractSet
from contextlib import AbstractAsyncContextManager
from typing import IO, Final, Protocol

from pkgindex_core.digests import Sha256
from pkgindex_core.errors import Unavailable
from pkgindex_core.protocols import Place

OWN: Final = ("simple", "pypi", "files", "changelog")
"""The directories that a tree consists of. Nothing else is ever looked through, or removed from; and in these only what has the
form of a tree (`has_tree_form`), since another program may keep files there."""
_CHUNK_BYTES: Final = 1 << 20


def copy_checked(outside: Place, sha256: Sha256, file: IO[bytes]) -> None:
    """Copy a file that others may change. Raises `Unavailable` if its bytes do not have this digest any more."""
    found = hashlib.sha256()
    try:
        with outside.path.open("rb") as original:
            while chunk := original.read(_CHUNK_BYTES):
                found.update(chunk)
                file.write(chunk)
    except FileNotFoundError:
        found = hashlib.sha256()
    if found.hexdigest() != sha256:
        raise Unavailable(f"{outside.path.name} was changed while it was published", hint="publish again")


class Target(Protocol):
    """A place for a tree. An object is seen whole or not at all; foreign exceptions leave as `Unavailable` or `StorageFull`."""

    async def read(self, path: str) -> bytes | None:
        """The bytes of an object; None when it is not there."""
        ...

    async def write(self, objects: Mapping[str, bytes]) -> None:
        """Write objects by path, in any order. An object with the same path is replaced."""
        ...

    async def place(self, path: str, sha256: Sha256, outside: Place | None = None) -> None:
        """Put a blob at a path, without moving its bytes if that is possible. Raises `Missing` if the blob is not stored.

        `outside`: the place of its bytes if they are not in the blob store. They are copied, since others may change them. Raises `Unavailable`
        if they were changed.
        """
        ...

    async def remove(self, paths: Iterable[str]) -> None:
        """Remove objects; those that are not there are no error."""
        ...

    async def walk(self, below: str) -> AbstractSet[str]:
        """The paths of the objects below a directory; none when there is no such directory."""
        ...

    async def settle(self) -> None:
        """Return when everything that was written survives a power cut."""
        ...

    def turn(self) -> AbstractAsyncContextManager[None]:
        """Keep other publishers out, as far as the place can. `Conflict` when one is at work."""
        ...

    async def close(self) -> None: ...
