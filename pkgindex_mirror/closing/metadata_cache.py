"""Keeps the metadata of an upstream between runs: pages with their validators, and the facts of immutable files.

    DIRECTORY/KEY OF THE UPSTREAM/pages/NAME.msgpack     the page of a project; it is asked for again with its validators
    DIRECTORY/KEY OF THE UPSTREAM/facts/NAME.jsonl       one line for each file whose metadata were read; lines are only added

Losing the directory costs time only. Anything in it that cannot be read is ignored, such as a line that a dying process left behind.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from typing import Final

import msgspec
from msgspec import Struct

from pkgindex_core.models import File
from pkgindex_core.names import ProjectName
from pkgindex_mirror.closing.version_facts import VersionFacts

_FORMAT: Final = "1"
"""Changes when the same file would give other facts."""


class RememberedPage(Struct, frozen=True):
    """A page as it was last seen."""

    validators: Mapping[str, str]
    files: tuple[File, ...]


class _KnownFacts(Struct, frozen=True):
    key: str
    facts: VersionFacts


class MetadataCache:
    """The directory for one upstream. Methods block for short; a disk that is full or read-only only means that nothing is kept."""

    def __init__(self, directory: Path, upstream: str) -> None:
        key = sha256(f"{_FORMAT} {upstream}".encode()).hexdigest()[:16]
        self._pages = directory / key / "pages"
        self._facts = directory / key / "facts"
        self._known: dict[ProjectName, dict[str, VersionFacts]] = {}

    def page(self, project: ProjectName) -> RememberedPage | None:
        try:
            return msgspec.msgpack.decode((self._pages / f"{project}.msgpack").read_bytes(), type=RememberedPage)
        except (OSError, msgspec.DecodeError):
            return None

    def keep_page(self, project: ProjectName, validators: Mapping[str, str], files: Sequence[File]) -> None:
        """Replace the page of a project."""
        path = self._pages / f"{project}.msgpack"
        beside = path.with_name(f".{project}.{os.getpid()}")
        try:
            self._pages.mkdir(parents=True, exist_ok=True)
            beside.write_bytes(msgspec.msgpack.encode(RememberedPage(validators, tuple(files))))
            beside.replace(path)
        except OSError:
            with suppress(OSError):
                beside.unlink()

    def facts(self, project: ProjectName, key: str) -> VersionFacts | None:
        known = self._known.get(project)
        if known is None:
            known = self._known[project] = self._read(project)
        return known.get(key)

    def keep_facts(self, project: ProjectName, key: str, facts: VersionFacts) -> None:
        """Add what a file says. `key`: the digest of its metadata or of its bytes."""
        self._known.setdefault(project, {})[key] = facts
        # A line feed first: the line before may be torn.
        line = b"\n" + msgspec.json.encode(_KnownFacts(key, facts)) + b"\n"
        try:
            self._facts.mkdir(parents=True, exist_ok=True)
            with (self._facts / f"{project}.jsonl").open("ab") as file:
                file.write(line)
        except OSError:
            return

    def _read(self, project: ProjectName) -> dict[str, VersionFacts]:
        try:
            lines = (self._facts / f"{project}.jsonl").read_bytes().splitlines()
        except OSError:
            return {}
        found = {}
        decoder = msgspec.json.Decoder(_KnownFacts)
        for line in lines:
            try:
                known = decoder.decode(line)
            except msgspec.DecodeError:
                continue
            found[known.key] = known.facts
        return found
