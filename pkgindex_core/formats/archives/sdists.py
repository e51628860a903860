"""Inspects source distributions (PEP 625, PEP 721) and dumb archives.

Reads the stream once, and keeps only names and PKG-INFO. Links are checked by the rules of PEP 721's data filter, but without a
file system: a target may have `..` only at its beginning, and no member may lie below a link, so that the text of a path
is enough.

Tar archives in three compressions and zips are treated alike. A dumb archive (`bdist_dumb`) is unpacked at the root of a file
system: it has no top directory, and its metadata is in its `.egg-info`.
"""

from __future__ import annotations

import posixpath
from collections.abc import Callable
from typing import BinaryIO

from msgspec.structs import replace

from pkgindex_core.errors import Refused
from pkgindex_core.formats.archives.bounds import ArchiveLimits, Budget, Inspection
from pkgindex_core.formats.archives.compressed_stream import CompressedStream, StreamError
from pkgindex_core.formats.archives.decompressors import OF_STREAMS
from pkgindex_core.formats.archives.member_names import check_tree, files_below, name_problem, shown
from pkgindex_core.formats.archives.tar_framing import TarMember, padded, tar_members
from pkgindex_core.formats.archives.zip_contents import DamagedError, check_methods, unpack
from pkgindex_core.formats.archives.zip_framing import is_also_tar, is_also_zip, read_members
from pkgindex_core.formats.filenames import UploadName
from pkgindex_core.formats.upload_rules import Findings, Unusual

HINT = "rebuild it with a standard build tool, for example `python -m build --sdist`"

COMPRESSIONS = {".tar.gz": "gzip", ".tgz": "gzip", ".tar.bz2": "bzip2", ".tbz": "bzip2", ".tar.xz": "xz"}


def inspect_sdist(
    file: BinaryIO, size: int, name: UploadName, limits: ArchiveLimits, budget: Budget, findings: Findings
) -> Inspection:
    """Read a source distribution or a dumb archive from its first to its last byte."""
    is_dumb = name.kind == "dumb"
    contents = _Contents(_is_metadata_of_dumb if is_dumb else _is_metadata_of_sdist, limits, findings)
    compression = next((word for end, word in COMPRESSIONS.items() if name.filename.lower().endswith(end)), "")
    if compression:
        _read_tar(file, size, compression, contents, budget, said_by_tools=is_dumb)
    else:
        _read_zip(file, size, contents, budget)
    top = contents.tree.check_links("") if is_dumb else contents.tree.check(name)
    metadata = contents.found(top, name)
    findings.raise_problems(HINT)
    return Inspection(
        metadata=metadata,
        warnings=findings.warnings,
        names=frozenset(contents.tree.files),
        license_root=f"{top}/" if top else "",
        uncompressed_bytes=contents.unpacked,
    )


class _Contents:
    """The names and the metadata of an archive while it is read."""

    def __init__(self, is_metadata: Callable[[str], bool], limits: ArchiveLimits, findings: Findings) -> None:
        self.is_metadata = is_metadata
        self.limits = limits
        self.findings = findings
        self.tree = _MemberNames(findings)
        self.unpacked = 0
        self._metadata: dict[str, bytes] = {}

    def wants(self, member: TarMember) -> bool:
        """Record a member; return whether its data is needed."""
        self.tree.add(member)
        if member.kind != "file" or not self.is_metadata(member.name):
            return False
        if member.size > self.limits.metadata_bytes:
            raise StreamError(f"PKG-INFO has {member.size} bytes; the limit is {self.limits.metadata_bytes}")
        return True

    def keep(self, name: str, data: bytes) -> None:
        self._metadata[name] = data

    def found(self, top: str, name: UploadName) -> bytes | None:
        """The metadata of the archive. A dumb archive may have none."""
        kept = {path: data for path, data in self._metadata.items() if not top or path == f"{top}/PKG-INFO"}
        if not kept and name.kind == "sdist":
            wanted = f"{top}/PKG-INFO" if top else "PKG-INFO"
            text = f"the archive has no file {shown(wanted if top else f'{name.stem}/PKG-INFO')}"
            if wanted in self.tree.files:  # a link
                self.findings.refuse(text)
            else:
                self.findings.unusual(Unusual.SDIST_METADATA, text)
        if len(set(kept.values())) > 1:
            self.findings.refuse(f"the archive has several PKG-INFO that differ: {', '.join(map(shown, sorted(kept)))}")
        return next(iter(kept.values()), None)


def _read_tar(
    file: BinaryIO, size: int, compression: str, contents: _Contents, budget: Budget, *, said_by_tools: bool
) -> None:
    begin, _ = OF_STREAMS[compression]
    what = "gzipped" if compression == "gzip" else f"{compression}-compressed"
    if file.read(len(begin)) != begin:
        raise Refused(f"the file is not a {what} tar archive", hint=HINT)
    if is_also_zip(file, size):
        raise Refused("the file could be read as a zip archive too", hint=HINT)
    limits, findings = contents.limits, contents.findings
    stream = CompressedStream(file, size, compression, limits, budget)
    try:
        for count, found in enumerate(tar_members(stream, limits, budget), start=1):
            if count > limits.members:
                raise StreamError(f"the archive has more than the limit of {limits.members} members")
            member = _without_dot(found)
            if member is not found and not said_by_tools:
                findings.unusual(Unusual.DOT_SLASH, "the names of members begin with './'")
            if not member.name and found.name:
                continue
            if contents.wants(member):
                contents.keep(member.name, stream.take(padded(member.size))[: member.size])
            else:
                stream.skip(padded(member.size))
    except StreamError as error:
        findings.refuse(str(error))
        raise Refused(findings.problems, hint=HINT) from None
    contents.unpacked = stream.unpacked


def _without_dot(member: TarMember) -> TarMember:
    """Remove `./` from the names of a member: `./name` and `name` are the same path, and `.` is the top."""
    name = "" if member.name == "." and member.kind == "directory" else member.name.removeprefix("./")
    # A hard link has the name of another member as its target.
    target = member.target.removeprefix("./") if member.kind == "link" else member.target
    return member if (name, target) == (member.name, member.target) else replace(member, name=name, target=target)


def _read_zip(file: BinaryIO, size: int, contents: _Contents, budget: Budget) -> None:
    findings = contents.findings
    if is_also_tar(file):
        raise Refused("the file is a tar archive, not a zip", hint=HINT)
    try:
        members = read_members(file, size, contents.limits, budget, findings, descriptors=True)
        check_methods(members, findings)
        for member in members:
            pieces = unpack(file, member, budget)
            name = member.name.removesuffix("/")
            if contents.wants(TarMember(name, "directory" if member.is_directory else "file", member.size, "")):
                contents.keep(member.name, b"".join(pieces))
            else:
                for _ in pieces:
                    pass
            contents.unpacked += member.size
    except (StreamError, DamagedError) as error:
        findings.refuse(str(error))
        raise Refused(findings.problems, hint=HINT) from None


def _is_metadata_of_sdist(name: str) -> bool:
    return name == "PKG-INFO" or (name.count("/") == 1 and name.endswith("/PKG-INFO"))


def _is_metadata_of_dumb(name: str) -> bool:
    return name.endswith((".egg-info", ".egg-info/PKG-INFO"))


class _MemberNames:
    """The names of an archive that were read so far."""

    def __init__(self, findings: Findings) -> None:
        self._findings = findings
        self.files: set[str] = set()
        self._directories: set[str] = set()
        self._links: list[TarMember] = []

    def add(self, member: TarMember) -> None:
        problem = name_problem(member.name) if member.name else "a member has no name"
        if problem:
            self._findings.refuse(problem)
        if member.kind == "directory":
            self._directories.add(member.name)
            return
        if member.name in self.files:
            self._findings.refuse(f"the member {shown(member.name)} stands twice in the archive")
        self.files.add(member.name)
        if member.kind != "file":
            self._links.append(member)

    def check(self, name: UploadName) -> str:
        """Compare all names with each other; return the top directory, or "" if there is none."""
        tops = {path.partition("/")[0] for path in self.files | self._directories}
        beside = {path for path in self.files if "/" not in path}
        if len(tops) == 1 and not beside:
            top = next(iter(tops))
            if top != name.stem:
                self._findings.warn(f"the top directory is {shown(top)}; PEP 625 wants {shown(name.stem)}")
            return self.check_links(top)
        seen = ", ".join(shown(top) for top in sorted(tops)[:5])
        text = f"the archive must have one top directory and nothing beside it; it has {seen or 'none'}"
        if tops and beside <= {"PKG-INFO"} and all(map(name.is_spelled, tops - beside)):
            self._findings.unusual(Unusual.SDIST_TREE, text)
            return self.check_links("")
        self._findings.refuse(text)
        return ""

    def check_links(self, top: str) -> str:
        """Refuse links that leave `top`, or the place of unpacking; return `top`."""
        check_tree(self.files, self._directories, self._findings)
        symlinks = {link.name for link in self._links if link.kind == "symlink"}
        if symlinks:
            self._check_below(symlinks)
        for link in self._links:
            problem = self._link_problem(link, top, symlinks)
            if problem:
                self._findings.refuse(f"the link {shown(link.name)} {problem}")
        return top

    def _check_below(self, symlinks: set[str]) -> None:
        """Refuse members below a link: they would be written to the target of the link."""
        for link in files_below(sorted([f"{path}/" for path in self.files | self._directories]), symlinks):
            self._findings.refuse(f"a member lies below the link {shown(link)}")

    def _link_problem(self, link: TarMember, top: str, symlinks: set[str]) -> str | None:
        target = link.target
        if not target:
            return "leads nowhere"
        inner = "/".join(part for part in posixpath.normpath(target).split("/") if part not in {".", ".."})
        if target.startswith("/") or (inner and name_problem(inner)):
            return f"has an impossible target {shown(target)}"
        if link.kind == "link":
            # A hard link names another member by its full path.
            if target not in self.files or target in symlinks or target == link.name:
                return f"is a hard link to {shown(target)}, which is not a file of the archive"
            return None
        parts = target.split("/")
        climbing = True
        for part in parts:
            if part == ".." and not climbing:
                # If `a` is a link, `a/..` may be any directory (CVE-2025-4517).
                return f"has a target that climbs behind a name: {shown(target)}"
            climbing = climbing and part == ".."
        resolved = posixpath.normpath(posixpath.join(posixpath.dirname(link.name), target))
        inside = f"{resolved}/".startswith(f"{top}/") if top else not f"{resolved}/".startswith("../")
        if not inside:
            return f"leads out of the archive, to {shown(target)}"
        return None
