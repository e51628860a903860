"""`dataindex.json` of `devpi-export`, read part by part.

    {"users": {NAME: {…}},
     "indexes": {"user/index": {"indexconfig": {…}, "projects": {NAME: PROJECT}, "files": [{…}]}},
     "dumpversion": "2", "pythonversion": […], "devpi_server": "6.20.3"}

A PROJECT is `{VERSION: {…}}` in formats 1 and 2, and `{"config": {…}, "versions": {VERSION: {…}}}` in format 3, which devpi-server 7 writes.

The file may be larger than memory, since it has all descriptions. So it is mapped, scanned for the positions of its parts
(`formats.json_spans`), and one version or one file is decoded at a time. Format 1 lacks versions of files and may lack their
hashes; formats 1 and 2 have several notations of a hash. Users, and options of indexes and projects, are few and held in memory.

Pure: works on a given buffer.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

import msgspec
from msgspec import Struct

from pkgindex_core.digests import clean_digests
from pkgindex_core.errors import Refused
from pkgindex_core.formats.json_spans import Buffer, elements, members

FORMATS: Final = ("1", "2", "3")
_OF_DEVPI_7: Final = "3"

_NOT_ALPHANUMERIC = re.compile(r"[^A-Za-z0-9]+")
_DIGEST_DIRECTORY = re.compile(r"\A([a-z0-9_]+)=([0-9a-f]+)\Z")


class UnreadablePart(Struct, frozen=True):
    """An unusable part of the dump, with the reason."""

    name: str
    reason: str


class DumpVersion(Struct, frozen=True, kw_only=True):
    """The metadata of one version of a project."""

    project: str
    """The project's name in the dump; since format 2 normalised by devpi."""
    version: str
    metadata: Mapping[str, Any]


class DumpFile(Struct, frozen=True, kw_only=True):
    """One file of an index, of any kind."""

    kind: str
    """`releasefile`, `doczip` or `toxresult`; a later devpi may have others."""
    project: str
    version: str
    relpath: str
    """Its path in the dump, with slashes."""
    filename: str
    digests: Mapping[str, str] = {}
    size: int | None = None
    last_modified: str = ""
    url: str = ""
    """Mirrored files: its URL at the upstream."""
    about: str = ""
    """Test results: the name of the file that was tested."""
    log: tuple[Mapping[str, Any], ...] = ()


class DumpProject(Struct, frozen=True, kw_only=True):
    """One project of an index: its name, and the position of its versions."""

    name: str
    """Normalised as devpi does since format 2."""
    display_name: str = ""
    """The original spelling; "" when the dump does not have it."""
    versions_at: int = -1
    """The position of its versions; -1: it has none."""


class DumpIndex(Struct, frozen=True, kw_only=True):
    """One index: its options, and the positions of its other parts."""

    name: str
    config: Mapping[str, Any]
    projects: Mapping[str, Mapping[str, Any]] = {}
    """The configurations of projects that have options."""
    of_devpi_7: bool = False
    """Whether options have devpi 7's names, and missing options devpi 7's meaning."""
    projects_at: int = -1
    files_at: int = -1
    """The position of its files; -1: the dump has none, for example of a mirror without its files."""


class DevpiDump:
    """A dump in a buffer. The constructor reads users, indexes and the version, and raises `Refused` for other data."""

    def __init__(self, buffer: Buffer) -> None:
        self._buffer = buffer
        self.users: dict[str, Mapping[str, Any]] = {}
        self.indexes: dict[str, DumpIndex] = {}
        self.unreadable: list[UnreadablePart] = []
        self._places: dict[str, dict[str, int]] = {}
        self._versions: tuple[int, dict[str, tuple[int, int]]] = (-1, {})
        top = {key: (start, stop) for key, start, stop in members(buffer, 0)}
        missing = [key for key in ("dumpversion", "users", "indexes") if key not in top]
        if missing:
            raise Refused(
                f"dataindex.json has no {' and no '.join(missing)}", hint="name a directory that devpi-export wrote"
            )
        self.format = str(self._decoded(*top["dumpversion"]))
        if self.format not in FORMATS:
            raise Refused(
                f"the dump has format {self.format[:80]!r}, which this version of pkgindex does not know"
                f" (it knows {', '.join(FORMATS)}: devpi-server up to 7.0)",
                hint="upgrade pkgindex and import again; or let an index here mirror each index of the running devpi-server:"
                " pkgindex-serve index create USER/INDEX type=mirror mirror_url=http://DEVPI/USER/INDEX/+simple/",
            )
        self.server = str(self._decoded(*top["devpi_server"])) if "devpi_server" in top else ""
        for name, start, stop in members(buffer, top["users"][0]):
            value = self._object(f"user {name}", start, stop)
            if value is not None:
                self.users[name] = value
        for name, start, _ in members(buffer, top["indexes"][0]):
            parts = {key: (place, stop) for key, place, stop in members(buffer, start)}
            config = self._object(f"index {name}", *parts["indexconfig"]) if "indexconfig" in parts else None
            if config is None:
                self.unreadable.append(UnreadablePart(f"index {name}", "it has no indexconfig"))
                continue
            self.indexes[name] = DumpIndex(
                name=name,
                config=config,
                projects=self._project_configs(name, parts["projects"][0]) if "projects" in parts else {},
                of_devpi_7=self.of_devpi_7,
                projects_at=parts.get("projects", (-1, -1))[0],
                files_at=parts.get("files", (-1, -1))[0],
            )

    @property
    def of_devpi_7(self) -> bool:
        """Whether options have devpi 7's names, and projects have configurations."""
        return self.format == _OF_DEVPI_7

    def _project_configs(self, index: str, place: int) -> dict[str, Mapping[str, Any]]:
        """The options of single projects of an index."""
        configs: dict[str, Mapping[str, Any]] = {}
        if not self.of_devpi_7:
            return configs
        for name, start, _ in members(self._buffer, place):
            span = self._part(start, "config")
            config = self._object(f"project {index} {name}", *span) if span is not None else None
            if config is not None and set(config) - {"name"}:
                configs[name] = config
        return configs

    def projects(self, index: DumpIndex) -> Iterator[DumpProject]:
        """Every project of an index."""
        if index.projects_at < 0:
            return
        for name, place, _ in members(self._buffer, index.projects_at):
            if not self.of_devpi_7:
                yield DumpProject(name=name, versions_at=place)
                continue
            span = self._part(place, "versions")
            yield DumpProject(
                name=name,
                display_name=self._display_name(place),
                versions_at=span[0] if span is not None else -1,
            )

    def _part(self, place: int, name: str) -> tuple[int, int] | None:
        return next(((start, stop) for key, start, stop in members(self._buffer, place) if key == name), None)

    def _display_name(self, place: int) -> str:
        span = self._part(place, "config")
        try:
            config = self._decoded(*span) if span is not None else {}
        except msgspec.DecodeError:  # reported when the dump was opened
            return ""
        return str(config.get("name") or "") if isinstance(config, dict) else ""

    def versions(self, project: DumpProject) -> Iterator[DumpVersion | UnreadablePart]:
        """The metadata of each version of a project."""
        if project.versions_at < 0:
            return
        for version, start, stop in members(self._buffer, project.versions_at):
            name = f"{project.name} {version}"
            try:
                metadata = self._decoded(start, stop)
            except msgspec.DecodeError as error:
                yield UnreadablePart(name, f"its metadata cannot be read: {error}")
                continue
            if not isinstance(metadata, dict):
                yield UnreadablePart(name, "its metadata is not an object")
                continue
            yield DumpVersion(project=project.name, version=str(metadata.get("version") or version), metadata=metadata)

    def version(self, index: DumpIndex, file: DumpFile) -> Mapping[str, Any]:
        """The metadata of the version that a file belongs to; empty when the dump has none."""
        if index.name not in self._places:
            self._places[index.name] = {one.name: one.versions_at for one in self.projects(index)}
        place = self._places[index.name].get(file.project, -1)
        found = self._versions_at(place).get(file.version) if place >= 0 else None
        if found is None:
            return {}
        try:
            metadata = self._decoded(*found)
        except msgspec.DecodeError:
            return {}
        return metadata if isinstance(metadata, dict) else {}

    def _versions_at(self, place: int) -> Mapping[str, tuple[int, int]]:
        """The positions of a project's versions. Files come project by project, so one project is cached."""
        known, versions = self._versions
        if known != place:
            versions = {}
            for version, start, stop in members(self._buffer, place):
                versions.setdefault(version, (start, stop))
            self._versions = (place, versions)
        return versions

    def count_files(self, index: DumpIndex) -> int:
        return sum(1 for _ in elements(self._buffer, index.files_at)) if index.files_at >= 0 else 0

    def files(self, index: DumpIndex) -> Iterator[DumpFile | UnreadablePart]:
        """Every file, in the dump's order."""
        if index.files_at < 0:
            return
        for number, (start, stop) in enumerate(elements(self._buffer, index.files_at), start=1):
            try:
                raw = self._decoded(start, stop)
                yield _file(raw)
            except (msgspec.DecodeError, KeyError, TypeError, ValueError, AttributeError) as error:
                yield UnreadablePart(f"entry {number} of the files", f"it cannot be read: {error!r}")

    def _decoded(self, start: int, stop: int) -> Any:
        return msgspec.json.decode(self._buffer[start:stop])

    def _object(self, name: str, start: int, stop: int) -> Mapping[str, Any] | None:
        try:
            value = self._decoded(start, stop)
        except msgspec.DecodeError as error:
            self.unreadable.append(UnreadablePart(name, f"it cannot be read: {error}"))
            return None
        if not isinstance(value, dict):
            self.unreadable.append(UnreadablePart(name, "it is not an object"))
            return None
        return value


def normalized(name: str) -> str:
    """A project name as devpi compares it.

    >>> normalized("Foo+Bar_baz")
    'foo-bar-baz'
    """
    return _NOT_ALPHANUMERIC.sub("-", name).lower()


def _file(raw: Mapping[str, Any]) -> DumpFile:
    entry: Mapping[str, Any] = raw.get("entrymapping") or {}
    relpath = str(raw["relpath"]).replace("\\", "/")
    kind = str(raw["type"])
    digests = _digests(entry)
    if kind == "toxresult":
        digests = _of_the_result(digests, relpath)
    size = entry.get("size")
    return DumpFile(
        kind=kind,
        project=str(raw["projectname"]),
        version=str(raw.get("version") or ""),
        relpath=relpath,
        filename=relpath.rpartition("/")[2],
        digests=digests,
        size=size if isinstance(size, int) else None,
        last_modified=str(entry.get("last_modified") or ""),
        url=str(entry.get("url") or ""),
        about=str(raw.get("for_entrypath") or "").partition("#")[0].rpartition("/")[2],
        log=tuple(one for one in raw.get("log") or () if isinstance(one, dict)),
    )


def _digests(entry: Mapping[str, Any]) -> dict[str, str]:
    """All hashes of an entry, in any notation of devpi's versions."""
    told: dict[str, object] = dict(entry.get("hashes") or {})
    if "md5" in entry:
        told.setdefault("md5", entry["md5"])
    algorithm, _, value = str(entry.get("hash_spec") or "").partition("=")
    told.setdefault(algorithm, value)
    return clean_digests(told)


def _of_the_result(digests: dict[str, str], relpath: str) -> dict[str, str]:
    """The hashes of a test result. devpi 6.5 to 6.8 wrote those of the tested file instead, which the directory is named after."""
    parts = relpath.split("/")
    match = _DIGEST_DIRECTORY.match(parts[-2]) if len(parts) > 1 else None
    if match and digests.get(match[1]) == match[2]:
        return {}
    return digests
