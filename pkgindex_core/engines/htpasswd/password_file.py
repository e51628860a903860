"""One htpasswd file as it is now: read again when it looks different, and seldom looked at.

A file that cannot be read is not an empty one: what was read before holds no longer, and log-ins are `Unavailable` until it can be read.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from concurrent.futures import Executor
from pathlib import Path
from typing import Final

from msgspec import Struct

from pkgindex_core.clock import Clock
from pkgindex_core.engines.htpasswd.hashes import seconds_of
from pkgindex_core.errors import Refused, Unavailable
from pkgindex_core.names import parse_user_name
from pkgindex_core.rules.permissions import ROOT
from pkgindex_core.tools.workers import in_worker

LOOK_SECONDS: Final = 0.25
"""How often the file is looked at, at most."""
_BYTES_LIMIT: Final = 16 * 1024 * 1024
_TOKEN_USER: Final = "__token__"  # noqa: S105 - the name of a user
"""Clients send tokens, valid or not, as the password of this user."""
_logger = logging.getLogger("pkgindex.htpasswd")

Look = tuple[int, int, int] | None
"""Time of the last change in nanoseconds, size and inode; None: it cannot be looked at."""


class Entries(Struct, frozen=True):
    """The content of a file."""

    look: Look
    hashes: Mapping[str, str]
    """By user name."""
    costliest: str
    """The hash of those in the file that takes longest to verify; empty in an empty file."""


class PasswordFile:
    """The entries of a file. Changes of the file are seen after `LOOK_SECONDS` at most."""

    def __init__(self, path: Path, *, clock: Clock, workers: Executor) -> None:
        self._path = path
        self._clock = clock
        self._workers = workers
        self._look: Look = None
        self._looked = float("-inf")
        self._entries: Entries | None = None

    async def look(self) -> Look:
        """The state of the file as the system tells it; another state is another value."""
        if self._is_due():
            self._looked = self._clock.monotonic()  # other requests use the last look meanwhile
            self._look = await in_worker(self._workers, self._look_now)
        return self._look

    def latest_look(self) -> Look:
        """The state that `look` would return; None also if it is time to look at the file again."""
        return None if self._is_due() else self._look

    def _is_due(self) -> bool:
        return self._clock.monotonic() - self._looked >= LOOK_SECONDS

    async def entries(self) -> Entries:
        """The present content. `Unavailable` when the file cannot be read."""
        look = await self.look()
        if self._entries is None or self._entries.look != look or look is None:
            self._entries = await in_worker(self._workers, self.read)
        return self._entries

    def read(self) -> Entries:
        """Read the file, in this thread. `Unavailable` when it cannot be read."""
        try:
            look = self._look_now()
            with self._path.open("rb") as stream:
                data = stream.read(_BYTES_LIMIT + 1)
        except OSError as error:
            _logger.warning("the password file %s cannot be read: %s", self._path, error.strerror)
            raise Unavailable("the file with the passwords cannot be read", hint="try again in a moment") from None
        if len(data) > _BYTES_LIMIT:
            _logger.warning("the password file %s is larger than %d bytes", self._path, _BYTES_LIMIT)
            raise Unavailable("the file with the passwords is too large")
        hashes = _hashes_in(data.decode("utf-8", "replace"), self._path)
        costliest = max(hashes.values(), key=lambda text: seconds_of(text) or 0.0, default="")
        return Entries(look, hashes, costliest)

    def _look_now(self) -> Look:
        try:
            found = self._path.stat()
        except OSError:
            return None
        return found.st_mtime_ns, found.st_size, found.st_ino


def _hashes_in(text: str, path: Path) -> dict[str, str]:
    """The hash of each user. Of a name that stands there twice the first one counts, as in Apache's server."""
    hashes: dict[str, str] = {}
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        name, colon, rest = line.strip().partition(":")
        password_hash = rest.partition(":")[0]
        if problem := _problem_of(name, colon, password_hash):
            _logger.warning("%s, line %d: %s", path, number, problem)
        else:
            hashes.setdefault(name, password_hash)
    return hashes


def _problem_of(name: str, colon: str, password_hash: str) -> str:
    """Why a line counts for nothing; empty when it counts. The text never holds a password."""
    if not colon:
        return "this is no NAME:HASH, and is left out"
    try:
        parse_user_name(name)
    except Refused as error:
        return f"this user cannot log in: {error.message}"
    if name == ROOT:
        return f"the user {ROOT} has a password of the server's own, and this one is left out"
    if name == _TOKEN_USER:
        return f"the name {name} stands for tokens, and this user is left out"
    if seconds_of(password_hash) is None:
        return f"the user {name} cannot log in: the password is no hash of a kind that is known; plain text is none"
    return ""
