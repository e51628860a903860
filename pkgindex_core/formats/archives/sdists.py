"""What a source distribution must be inside (PEP 625, PEP 721; standards VA-19, VA-20, VA-23, VA-33).

One pass over the stream, nothing kept but the names and PKG-INFO. Links are judged as PEP 721's data filter does, but
without a file system to ask: a target may climb only at its beginning, and no member may lie below a link, so that
what a path means can be told from its text.
"""

from __future__ import annotations

import posixpath
from typing import BinaryIO

from pkgindex_core.errors import Refused
from pkgindex_core.formats.archives.bounds import ArchiveLimits, Budget, Findings, Inspection
from pkgindex_core.formats.archives.gzip_stream import GzipStream, StreamError
from pkgindex_core.formats.archives.member_names import check_tree, files_below, name_problem, shown
from pkgindex_core.formats.archives.tar_framing import TarMember, padded, tar_members
from pkgindex_core.formats.archives.zip_framing import is_also_zip
from pkgindex_core.formats.filenames import UploadName

HINT = "rebuild it with a standard build tool, for example `python -m build --sdist`"


def inspect_sdist(
    file: BinaryIO, size: int, name: UploadName, limits: ArchiveLimits, budget: Budget, findings: Findings
) -> Inspection:
    """Read a source distribution from its first to its last byte."""
    if file.read(3) != b"\x1f\x8b\x08":
        raise Refused("the file is not a gzipped tar archive", hint=HINT)
    if is_also_zip(file, size):
        raise Refused("the file could be read as a zip archive too", hint=HINT)
    stream = GzipStream(file, size, limits, budget)
    tree = _Tree(findings)
    metadata: dict[str, bytes] = {}
    try:
        for count, member in enumerate(tar_members(stream, limits, budget), start=1):
            if count > limits.members:
                raise StreamError(f"the archive has more than the limit of {limits.members} members")
            tree.add(member)
            if member.kind == "file" and _is_metadata(member.name):
                if member.size > limits.metadata_bytes:
                    raise StreamError(f"PKG-INFO has {member.size} bytes; the limit is {limits.metadata_bytes}")
                metadata[member.name] = stream.take(padded(member.size))[: member.size]
            else:
                stream.skip(padded(member.size))
    except StreamError as error:
        findings.refuse(str(error))
        raise Refused(findings.problems, hint=HINT) from None
    top = tree.check(name)
    found = metadata.get(f"{top}/PKG-INFO")
    if found is None:
        findings.refuse(f"the archive has no file {shown(f'{top or name.stem}/PKG-INFO')}")
    findings.raise_problems(HINT)
    return Inspection(
        metadata=found or b"",
        warnings=findings.warnings,
        names=frozenset(tree.files),
        license_root=f"{top}/",
        uncompressed_bytes=stream.unpacked,
    )


def _is_metadata(name: str) -> bool:
    return name.count("/") == 1 and name.endswith("/PKG-INFO")


class _Tree:
    """The names of an archive, as far as they were read."""

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
        """Compare all names with each other; return the one top directory, or "" if there is none."""
        tops = {path.partition("/")[0] for path in self.files | self._directories}
        beside = sorted(path for path in self.files if "/" not in path)
        if len(tops) != 1 or beside:
            seen = ", ".join(shown(top) for top in sorted(tops)[:5])
            self._findings.refuse(
                f"the archive must have one top directory and nothing beside it; it has {seen or 'none'}"
            )
            return ""
        top = next(iter(tops))
        if top != name.stem:
            self._findings.warn(f"the top directory is {shown(top)}; PEP 625 wants {shown(name.stem)}")
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
        """A member below a link would be written to wherever the link leads."""
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
                return f"is a hard link to {shown(target)}, which is no file of the archive"
            return None
        parts = target.split("/")
        climbing = True
        for part in parts:
            if part == ".." and not climbing:
                # Through another link, `a/..` may be anywhere (CVE-2025-4517).
                return f"has a target that climbs behind a name: {shown(target)}"
            climbing = climbing and part == ".."
        resolved = posixpath.normpath(posixpath.join(posixpath.dirname(link.name), target))
        if resolved != top and not resolved.startswith(f"{top}/"):
            return f"leads out of the archive, to {shown(target)}"
        return None
