"""Lists of packages in the form of dumb-pypi: a filename a line, or a JSON object a line. The same form is `packages.json`.

The keys of a line are those of dumb-pypi: `filename`, `hash` (`sha256=…`), `requires_dist`, `requires_python`,
`upload_timestamp` (seconds), `uploaded_by`, `yanked_reason`, `core_metadata` (`true` or `sha256=…`). Names that could leave a directory
and names of no project are left out and told, as there. A line that is no such object spoils the list: all such lines are told at once.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Annotated, Final

import msgspec
from msgspec import Meta, Struct

from pkgindex_core.clock import Timestamp
from pkgindex_core.digests import Sha256, parse_sha256
from pkgindex_core.errors import Refused
from pkgindex_core.formats.filenames import likeliest_project, version_in
from pkgindex_core.models import Event, File
from pkgindex_core.names import ProjectName

_SAFE_NAME: Final = re.compile(r"[A-Za-z0-9_.+-]+").fullmatch
_DIGEST: Final = re.compile(r"([a-z0-9_]+)=([0-9A-Fa-f]+)").fullmatch
_MOST_PROBLEMS: Final = 20
_CALENDAR: Final = Meta(ge=-62_135_596_800, lt=253_402_300_800)
"""The seconds of the years 1 to 9999, which pages can show."""


class PackageLine(Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """One line of a list."""

    filename: str
    hash: str | None = None
    requires_dist: tuple[str, ...] | None = None
    requires_python: str | None = None
    core_metadata: str | None = None
    upload_timestamp: Annotated[int, _CALENDAR] | Annotated[float, _CALENDAR] | None = None
    uploaded_by: str | None = None
    yanked_reason: str | None = None


class ListedPackage(Struct, frozen=True, kw_only=True):
    """A line, and the file that it is about."""

    project: ProjectName
    file: File
    line: PackageLine


class PackageList(Struct, frozen=True, kw_only=True):
    """The packages of a list."""

    files: Mapping[ProjectName, tuple[ListedPackage, ...]]
    left_out: tuple[str, ...]
    """One sentence for each line that names no file of a package."""


encode_line = msgspec.json.Encoder().encode
_decoder = msgspec.json.Decoder(PackageLine)


def read_package_list(data: bytes, *, as_json: bool) -> PackageList:
    """Read a list. `Refused` names every line that is not in the form, the first twenty at least."""
    lines: list[PackageLine] = []
    problems: list[str] = []
    for number, text in enumerate(data.splitlines(), start=1):
        try:
            lines.append(_decoder.decode(text) if as_json else PackageLine(filename=text.decode()))
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            problems.append(f"line {number}: {error}")
    if problems:
        more = [f"and {len(problems) - _MOST_PROBLEMS} lines more"] if len(problems) > _MOST_PROBLEMS else []
        known = ", ".join(PackageLine.__struct_fields__)
        raise Refused(problems[:_MOST_PROBLEMS] + more, hint=f"a line is a JSON object with these keys: {known}")
    return _grouped(lines)


def package_line(file: File) -> bytes:
    """A file as a line, without its end."""
    sha256 = file.metadata_sha256
    digest = next(
        ((name, file.digests[name]) for name in ("sha256", *sorted(file.digests)) if name in file.digests), None
    )
    return encode_line(
        PackageLine(
            filename=file.filename,
            hash="=".join(digest) if digest else None,
            requires_python=file.requires_python or None,
            core_metadata=f"sha256={sha256}" if sha256 else "true" if file.metadata_offered else None,
            upload_timestamp=None if file.upload_time is None else file.upload_time // 1_000_000,
            uploaded_by=next((event.who for event in file.history if event.who), None),
            yanked_reason=(file.yanked if isinstance(file.yanked, str) else "yanked") if file.yanked else None,
        )
    )


def _grouped(lines: Iterable[PackageLine]) -> PackageList:
    files: dict[ProjectName, dict[str, ListedPackage]] = {}
    left_out: list[str] = []
    for line in lines:
        name = line.filename
        project = likeliest_project(name) if _SAFE_NAME(name) and ".." not in name else None
        if project is None:
            left_out.append(f"{name[:200]!r} is no name of a package")
            continue
        found = ListedPackage(project=project, file=_file(line, project), line=line)
        files.setdefault(project, {})[name] = found  # of two lines about one file the last counts
    return PackageList(files={name: tuple(each.values()) for name, each in files.items()}, left_out=tuple(left_out))


def _file(line: PackageLine, project: ProjectName) -> File:
    digest = _DIGEST(line.hash or "")
    algorithm, _, sha256 = (line.core_metadata or "").partition("=")
    sidecar = Sha256(sha256) if algorithm == "sha256" and parse_sha256(sha256) == sha256 else None
    uploaded = None if line.upload_timestamp is None else Timestamp(int(line.upload_timestamp * 1_000_000))
    return File(
        filename=line.filename,
        version=version_in(line.filename, project),
        digests={digest[1]: digest[2].lower()} if digest else {},
        upload_time=uploaded,
        requires_python=line.requires_python or "",
        yanked=line.yanked_reason or False,
        metadata_sha256=sidecar,
        metadata_offered=bool(line.core_metadata) and sidecar is None,
        history=(Event(what="upload", at=uploaded or Timestamp(0), who=line.uploaded_by),) if line.uploaded_by else (),
    )
