"""Reads requirements files as pip does: continued lines, comments, `-r`, `-c` and `--hash`.

Options about where packages come from (`--index-url`, `--find-links` and others) are left out: the index is given already. Lines that
name no project of an index (`-e .`, paths, URLs) are reported.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from msgspec import Struct
from msgspec.structs import replace
from packaging.requirements import InvalidRequirement, Requirement

from pkgindex_core.errors import Refused
from pkgindex_core.names import normalized_or_none
from pkgindex_core.urls import masked
from pkgindex_mirror.prefetching.wanted import Wanted, constrained, wanted_by

_SHA256: Final = re.compile(r"\s--hash[=\s]\s*sha256:(\w+)")
_COMMENT: Final = re.compile(r"(^|\s)#.*")
_NAMING: Final = re.compile(r"(?:--(requirement|constraint|editable)[=\s]|-([rce]))\s*(.+)")
"""An option that names a file or a directory."""
_CODING: Final = re.compile(rb"coding[:=]\s*([-\w.]+)")
_MARKS: Final = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),  # begins with the mark of UTF-16
    (codecs.BOM_UTF16_BE, "utf-16-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
)
_OPTIONS: Final = re.compile(r"\s--.*")
"""The options of a requirement, such as `--hash`."""


class RequirementFile(Struct, frozen=True):
    """The content of a requirements file and of the files that it names."""

    wanted: tuple[Wanted, ...]
    left_out: tuple[str, ...]
    """Lines that name no project of an index, each as a sentence."""
    constraints: tuple[Wanted, ...] = ()
    """They hold for dependencies too, and each only where its marker holds."""


class _Line(Struct, frozen=True):
    text: str
    where: str


def read_requirements(path: Path) -> RequirementFile:
    """Read a file. Raises `Refused` with all lines that cannot be read."""
    reader = _RequirementReader()
    reader.read(path, constraining=False)
    if reader.problems:
        raise Refused(reader.problems)
    everywhere = [each for each in reader.constraints if each.marker is None]
    wanted = [constrained(each, everywhere) for each in reader.wanted]
    # pip checks all hashes if one line has any, and then the file names every dependency.
    if any(each.sha256s for each in wanted):
        wanted = [replace(each, follow=False) for each in wanted]
    return RequirementFile(tuple(wanted), tuple(reader.left_out), tuple(reader.constraints))


def decoded_requirements(data: bytes) -> str:
    """Decode a requirements file: by its byte order mark, else as a comment `coding: …` in its first two lines says, else as UTF-8.

    Raises `UnicodeDecodeError`, and `LookupError` for an encoding that is not known.
    """
    for mark, encoding in _MARKS:
        if data.startswith(mark):
            return data[len(mark) :].decode(encoding)
    for line in data.split(b"\n")[:2]:
        said = _CODING.search(line) if line.startswith(b"#") else None
        if said is not None:
            return data.decode(said[1].decode("ascii"))
    return data.decode("utf-8")


class _RequirementReader:
    def __init__(self) -> None:
        self.wanted: list[Wanted] = []
        self.constraints: list[Wanted] = []
        self.left_out: list[str] = []
        self.problems: list[str] = []
        self._open: list[Path] = []

    def read(self, path: Path, *, constraining: bool) -> None:
        if path.resolve() in self._open:
            self.problems.append(f"{path} names itself")
            return
        try:
            text = decoded_requirements(path.read_bytes())
        except LookupError as error:
            self.problems.append(f"{path} cannot be read: {error}")
            return
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else f"it is not {error.encoding.upper()}"
            self.problems.append(f"{path} cannot be read: {reason}")
            return
        self._open.append(path.resolve())
        for line in _lines(text, path):
            self._line(line, path, constraining=constraining)
        self._open.pop()

    def _line(self, line: _Line, path: Path, *, constraining: bool) -> None:
        naming = _NAMING.fullmatch(line.text)
        if naming is None:
            if not line.text.startswith("-"):
                self._requirement(line, constraining=constraining)
            return
        kind, named = (naming[1] or naming[2])[0], naming[3]
        if kind == "e":
            self._leave_out(line, named)
        elif "://" in named:
            self.problems.append(f"{line.where}: {masked(named)} is not fetched: download it, and name the file here")
        else:
            self.read(path.parent / named, constraining=constraining or kind == "c")

    def _requirement(self, line: _Line, *, constraining: bool) -> None:
        options = _OPTIONS.search(line.text)
        text = line.text[: options.start()] if options else line.text
        try:
            requirement = Requirement(text)
        except InvalidRequirement:
            if re.match(r"[./~]|[A-Za-z][A-Za-z0-9+.-]*://|.*[/\\]", text):
                self._leave_out(line, text)
            else:
                self.problems.append(f"{line.where}: {masked(text)!r} is no requirement")
            return
        project = normalized_or_none(requirement.name)
        if project is None or requirement.url:
            self._leave_out(line, text)
            return
        wanted = wanted_by(requirement, project, where=line.where)
        hashes = frozenset(_sha256s(options[0] if options else ""))
        (self.constraints if constraining else self.wanted).append(replace(wanted, sha256s=hashes))

    def _leave_out(self, line: _Line, text: str) -> None:
        self.left_out.append(f"{line.where}: {masked(text)} is no project of an index")


def _sha256s(options: str) -> Iterator[str]:
    """The digests of `--hash=sha256:…` or `--hash sha256:…`."""
    return (found[1].lower() for found in _SHA256.finditer(options))


def _lines(text: str, path: Path) -> Iterator[_Line]:
    """Logical lines, without comments."""
    gathered, begun = "", 0
    for number, line in enumerate(text.splitlines(), 1):
        begun = begun or number
        if line.endswith("\\") and not line.lstrip().startswith("#"):
            gathered += line[:-1] + " "
            continue
        whole = _COMMENT.sub("", gathered + line).strip()
        if whole:
            yield _Line(whole, f"{path}, line {begun}")
        gathered, begun = "", 0
    if whole := _COMMENT.sub("", gathered).strip():
        yield _Line(whole, f"{path}, line {begun}")
