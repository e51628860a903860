"""The digests of files that were read, so that a restart does not read them again.

    DATA/directories.journal     one line a file: ["path", "mark", "sha256"]; the last line of a path counts

It is a cache: for a line that is lost or torn, one file is read again. So lines are appended without a sync, and several processes may append at
once. A line that cannot be written is logged. Blocking; `load` reads the whole journal, and may rewrite it.
"""

from __future__ import annotations

import logging
import os
import secrets
import threading
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

import msgspec

from pkgindex_core.digests import Sha256

_SLACK: Final = 1000
"""Outdated lines that the file may have before it is rewritten."""
_DIGEST: Final = 32
"""Bytes of a sha256."""

_Line = tuple[str, str, str]
_decoder = msgspec.json.Decoder(_Line)
_encoder = msgspec.json.Encoder()
_log = logging.getLogger(__name__)


class Journal:
    """Digests by path and mark."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._known: dict[str, bytes] = {}
        """The digest and the mark of each path, packed: there may be a hundred thousand."""
        self._lock = threading.Lock()
        self._loaded = False

    def load(self) -> None:
        """Read the journal. Only the first call does anything."""
        with self._lock:
            if self._loaded:
                return
            lines = 0
            for path, mark, sha256 in self._lines():
                lines += 1
                with suppress(ValueError):
                    self._known[path] = _packed(mark, sha256)
            if lines > 2 * len(self._known) + _SLACK:
                self._rewrite()
            self._loaded = True

    def known(self, path: str, mark: str) -> Sha256 | None:
        """The digest of the file that had this path and mark; None if that file was not read."""
        found = self._known.get(_text(path))
        if found is None or found[_DIGEST:] != mark.encode():
            return None
        return Sha256(found[:_DIGEST].hex())

    def mark(self, path: str) -> str:
        """The mark that was last noted for a path; empty if there is none."""
        return self._known.get(_text(path), b"")[_DIGEST:].decode()

    def has_below(self, directory: str) -> bool:
        """Whether a digest was noted for a file in a directory or below."""
        return any(path.startswith(_text(f"{directory}/")) for path in list(self._known))

    def note(self, path: str, mark: str, sha256: str) -> None:
        """Remember a digest."""
        path, packed = _text(path), _packed(mark, sha256)
        if self._known.get(path) == packed:
            return
        self._known[path] = packed
        try:
            self._append(_encoded((path, mark, sha256)))
        except OSError as error:
            _log.warning("digests of files cannot be noted in %s: %s", self._path, error)

    def _append(self, data: bytes) -> None:
        descriptor = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            os.write(descriptor, data)
        finally:
            os.close(descriptor)

    def _lines(self) -> Iterator[_Line]:
        try:
            with self._path.open("rb") as file:
                for line in file:
                    with suppress(msgspec.DecodeError):  # a line that was torn when the machine stopped
                        yield _decoder.decode(line)
        except FileNotFoundError:
            return
        except OSError as error:
            _log.warning("noted digests of files cannot be read from %s: %s", self._path, error)

    def _rewrite(self) -> None:
        """Leave out outdated lines. A line that another process appends meanwhile is lost, and its file is read again."""
        lines = ((path, found[_DIGEST:].decode(), found[:_DIGEST].hex()) for path, found in self._known.items())
        kept: Iterable[_Line] = [line for line in lines if "://" in line[0] or os.path.lexists(line[0])]
        beside = self._path.with_name(f"{self._path.name}.{secrets.token_hex(8)}")
        try:
            beside.write_bytes(b"".join(map(_encoded, kept)))
            beside.replace(self._path)
        except OSError as error:
            _log.warning("%s cannot be rewritten: %s", self._path, error)
            beside.unlink(missing_ok=True)


def _text(path: str) -> str:
    """A path that can be written as JSON: names in a file system need not be UTF-8."""
    return path if path.isascii() else path.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def _packed(mark: str, sha256: str) -> bytes:
    digest = bytes.fromhex(sha256)
    if len(digest) != _DIGEST:
        raise ValueError("no sha256")
    return digest + mark.encode()


def _encoded(line: _Line) -> bytes:
    # It begins with a line feed too: the line before may be torn.
    return b"\n" + _encoder.encode(line) + b"\n"
