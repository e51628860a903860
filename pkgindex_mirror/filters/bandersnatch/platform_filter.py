"""`exclude_platform`: leaves out files with a name that contains the marks of a platform or of a Python version."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from typing import Final

from msgspec import Struct

from pkgindex_core.errors import Refused
from pkgindex_core.models import File
from pkgindex_core.spelling import suggestion
from pkgindex_mirror.filters.legacy_documents import legacy_document, package_type
from pkgindex_mirror.filters.quiet_filter import QuietFilter
from pkgindex_mirror.syncing.values import Refusal, UpstreamProject

_WINDOWS: Final = (".win32", "-win32", "win_amd64", "win-amd64", "win_arm64", "win-arm64")
_MACOS: Final = ("macosx_", "macosx-")
_FREEBSD: Final = (".freebsd", "-freebsd")
_LINUX: Final = (
    "linux-i686",
    "linux-x86_64",
    "linux_armv7l",
    "linux_armv6l",
    "manylinux1_i686",
    "manylinux1_x86_64",
    "manylinux2010_i686",
    "manylinux2010_x86_64",
    "manylinux2014_x86_64",
    "manylinux2014_i686",
    "manylinux2014_aarch64",
    "manylinux2014_armv7l",
    "manylinux2014_ppc64",
    "manylinux2014_ppc64le",
    "manylinux2014_s390x",
    "-manylinux_",
    "musllinux",
)
_PYTHONS: Final = frozenset(
    {"py2", "py2.4", "py2.5", "py2.6", "py2.7", "py3", *(f"py3.{minor}" for minor in range(15))}
)
"""The Pythons that bandersnatch knows."""
_INTERPRETERS: Final = ("cp", "pp", "ip", "jy")
_PYTHON: Final = re.compile(r"py[0-9](?:\.[0-9]+)?")
_TAG: Final = re.compile(r"[-.]?[a-z0-9]+(?:[-_.][a-z0-9_.-]+)")


class PlatformMarks(Struct, frozen=True):
    """Parts of filenames, and package types."""

    marks: tuple[str, ...] = ()
    package_types: tuple[str, ...] = ()


def platform_marks(words: Collection[str], *, strict: bool) -> PlatformMarks:
    """The marks for the words of `platforms`. Raises `Refused` for words that mean nothing; `strict` ignores them, as bandersnatch does."""
    found = [_marks_of(word.lower(), strict=strict) for word in words]
    if not strict:
        unknown = [word for word, marks in zip(words, found, strict=True) if marks is None]
        if unknown:
            known = ["windows", "macos", "freebsd", "linux", "py2.7", "py3.8"]
            raise Refused(
                [f"[blocklist] platforms: {word!r} is no platform" for word in unknown],
                hint=suggestion(unknown[0].lower(), known),
            )
    return PlatformMarks(
        tuple(dict.fromkeys(mark for marks in found if marks for mark in marks.marks)),
        tuple(dict.fromkeys(kind for marks in found if marks for kind in marks.package_types)),
    )


class ExcludedPlatforms(QuietFilter):
    """Leaves out files by marks in their names and by their package types. Source distributions stay."""

    def __init__(self, word: str, marks: PlatformMarks, *, by_document: bool) -> None:
        super().__init__(word, [marks.marks, marks.package_types], needs_document=by_document)
        self._marks = marks.marks
        self._package_types = frozenset(marks.package_types)

    def refuses_files(self, project: UpstreamProject, files: Sequence[File]) -> Mapping[str, Refusal]:
        document = legacy_document(project)
        marks, package_types = self._marks, self._package_types
        refused: dict[str, Refusal] = {}
        for file in files:
            filename = file.filename
            entry = document.file(filename) if document else None
            if entry is not None:
                kind = str(entry[1].get("packagetype"))
            else:
                kind = "bdist_wheel" if filename.endswith(".whl") else package_type(file)
            if kind == "sdist":
                continue
            if kind in package_types:
                refused[filename] = self.refusal(f"it is a {kind}")
                continue
            for mark in marks:
                if mark in filename:
                    refused[filename] = self.refusal(f"its name has {mark}")
                    break
        return refused


def _marks_of(word: str, *, strict: bool) -> PlatformMarks | None:
    if word in {"windows", "win"}:
        return PlatformMarks(_WINDOWS, ("bdist_msi", "bdist_wininst"))
    if word in {"macos", "macosx"}:
        return PlatformMarks(_MACOS, ("bdist_dmg",))
    # bandersnatch compares with `in`, so that `bsd` means FreeBSD and `lin` Linux.
    if word in "freebsd":
        return PlatformMarks(_FREEBSD)
    if word in "linux":
        return PlatformMarks(_LINUX, ("bdist_rpm",))
    if word in _PYTHONS or (not strict and _PYTHON.fullmatch(word)):
        return PlatformMarks(_python_marks(word.removeprefix("py")))
    if word in _WINDOWS or word in _LINUX or (not strict and _TAG.fullmatch(word)):
        return PlatformMarks((word,))
    return None


def _python_marks(version: str) -> tuple[str, ...]:
    number = version.replace(".", "")
    return (*(f"-{name}{number}-" for name in _INTERPRETERS), f"-py{version}-", f"-py{version}.")
