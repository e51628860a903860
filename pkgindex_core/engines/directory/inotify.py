"""Linux's inotify: events for the changes in watched directories.

Reading a file makes no event. The event loop waits for the descriptor, so there is no thread. A watch covers one directory, not those below it.
The calls go through ctypes, since the standard library has no inotify.
"""

from __future__ import annotations

import os
import struct
import sys
from typing import Final

from msgspec import Struct

_CLOSE_WRITE, _ATTRIB = 0x8, 0x4
_MOVED_FROM, _MOVED_TO, _CREATE, _DELETE = 0x40, 0x80, 0x100, 0x200
_DELETE_SELF, _MOVE_SELF = 0x400, 0x800
_UNMOUNT, _OVERFLOW, _IGNORED = 0x2000, 0x4000, 0x8000
_ONLY_DIRECTORIES, _NO_LINKS, _IS_DIRECTORY = 0x1000000, 0x2000000, 0x40000000
_WANTED: Final = (
    _CLOSE_WRITE | _ATTRIB | _MOVED_FROM | _MOVED_TO | _CREATE | _DELETE | _DELETE_SELF | _MOVE_SELF
    | _ONLY_DIRECTORIES | _NO_LINKS
)  # fmt: skip
_OF_ITSELF: Final = _DELETE_SELF | _MOVE_SELF | _UNMOUNT
_HEAD: Final = struct.Struct("iIII")
_READ: Final = 64 * 1024


class Happening(Struct, frozen=True):
    """A change in a watched directory."""

    directory: str
    """The watched directory; empty when events were lost, and everything may have changed."""
    name: str = ""
    """The changed name in it; empty: the directory itself was moved, removed or unmounted."""
    is_directory: bool = False


class Inotify:
    """Watches directories. Raises `OSError` where the system has no inotify, or no watch is left (`ENOSPC`: `fs.inotify.max_user_watches`)."""

    def __init__(self) -> None:
        if not sys.platform.startswith("linux"):
            raise OSError("this system has no inotify")
        import ctypes  # loaded only when a directory is watched

        self._get_errno = ctypes.get_errno
        self._library = ctypes.CDLL(None, use_errno=True)
        self._watched: dict[int, str] = {}
        self.descriptor: int = self._library.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        if self.descriptor < 0:
            raise self._refused("inotify")

    def watch(self, directory: str) -> None:
        """Watch a directory from now on. A second call changes nothing."""
        watch = self._library.inotify_add_watch(self.descriptor, os.fsencode(directory), _WANTED)
        if watch < 0:
            raise self._refused(directory)
        self._watched[watch] = directory

    def read(self) -> list[Happening]:
        """The changes since the last call. Returns at once."""
        happenings: list[Happening] = []
        while True:
            try:
                data = os.read(self.descriptor, _READ)
            except BlockingIOError:
                return happenings
            offset = 0
            while offset < len(data):
                watch, mask, _, length = _HEAD.unpack_from(data, offset)
                offset += _HEAD.size
                name = os.fsdecode(data[offset : offset + length].rstrip(b"\0"))
                offset += length
                self._note(happenings, watch, mask, name)

    def _note(self, happenings: list[Happening], watch: int, mask: int, name: str) -> None:
        if mask & _OVERFLOW:
            happenings.append(Happening(""))
        elif mask & _IGNORED:
            self._watched.pop(watch, None)
        elif (directory := self._watched.get(watch)) is not None:
            if mask & _OF_ITSELF:
                happenings.append(Happening(directory))
            elif name:
                happenings.append(Happening(directory, name, bool(mask & _IS_DIRECTORY)))

    def close(self) -> None:
        if self.descriptor >= 0:
            os.close(self.descriptor)
            self.descriptor = -1

    def _refused(self, what: str) -> OSError:
        number = self._get_errno()
        return OSError(number, os.strerror(number), what)
