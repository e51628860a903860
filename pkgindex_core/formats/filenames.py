"""What a filename says: kind, project, version.

Two readings. `parse_upload_filename` is strict: it takes only what may be uploaded today (PEP 427, PEP 625) and
says what is wrong otherwise. `version_in` and `candidate_projects` never fail: mirrors list files of every
age (.egg, .exe, .msi, .rpm, .tar.bz2, dumb archives), and those must neither crash a page nor be lost.
"""

from __future__ import annotations

import re
from itertools import product
from typing import Literal

from msgspec import Struct

from pkgindex_core.errors import Refused
from pkgindex_core.formats.versions import canonical_version, is_pep440, version_key
from pkgindex_core.names import ProjectName, normalized_or_none

__all__ = [
    "FileKind",
    "UploadName",
    "candidate_projects",
    "canonical_version",
    "kind_of",
    "parse_upload_filename",
    "version_in",
    "version_key",
]

FileKind = Literal["wheel", "sdist", "egg", "wininst", "msi", "rpm", "deb", "dmg", "dumb", "other"]

FILENAME_LIMIT = 255
"""Characters: what the usual file systems of those who download can hold."""
TAG_LIMIT = 500
"""Tags one wheel may expand to. Real wheels have a dozen; a compressed tag set multiplies (PEP 425)."""
CANDIDATE_LIMIT = 12


class UploadName(Struct, frozen=True, kw_only=True):
    """A filename that may be uploaded, taken apart."""

    filename: str
    project: ProjectName
    name_part: str
    """The project's name as the filename spells it."""
    version: str
    """As the filename spells it."""
    kind: Literal["wheel", "sdist"]
    python_tag: str
    """Of a wheel, `py2.py3` and the like; `source` for a source distribution, as upload forms call it."""
    build: str = ""
    tags: frozenset[str] = frozenset()
    """Of a wheel: every `python-abi-platform` that its compressed tag set stands for."""

    @property
    def stem(self) -> str:
        """`name-version`: how `.dist-info` and the top directory of a source distribution begin."""
        return f"{self.name_part}-{self.version}"


def parse_upload_filename(filename: str, *, any_sdist_spelling: bool = False) -> UploadName:
    """Read the name of a file that is to be uploaded; refuse it with every reason there is.

    `any_sdist_spelling` also takes `Foo.Bar-1.0.0.tar.gz`, which PEP 625 wants as `foo_bar-1.0.0.tar.gz` and which
    build tools wrote for twenty years.
    """
    problems: list[str] = []
    shown = repr(filename[:300])
    # VA-13. Reported first and alone where the rest of the name could not be read sensibly anyway.
    if not filename:
        raise Refused("the file has no name", hint="send the file part with a filename")
    if any(ord(mark) < 32 or ord(mark) == 127 for mark in filename):
        problems.append(f"the filename {shown} has control characters")
    if "/" in filename or "\\" in filename:
        problems.append(f"the filename {shown} has path separators")
    if len(filename) > FILENAME_LIMIT:
        problems.append(f"the filename is longer than {FILENAME_LIMIT} characters")
    if not filename.isascii():
        problems.append(f"the filename {shown} has characters outside ASCII")
    kind = kind_of(filename)
    if filename.endswith(".whl") and not problems:
        name = _parse_wheel(filename, problems)
    elif filename.endswith(".tar.gz") and kind == "sdist" and not problems:
        name = _parse_sdist(filename, problems, any_spelling=any_sdist_spelling)
    else:
        name = None
        if kind not in {"wheel", "sdist"} or not filename.endswith((".whl", ".tar.gz")):
            problems.append(_WHY_NOT.get(kind, _NEITHER).format(shown=shown))
    if problems or name is None:
        raise Refused(
            problems, hint="upload wheels (name-version-python-abi-platform.whl) and sdists (name-version.tar.gz)"
        )
    return name


def kind_of(filename: str) -> FileKind:
    """What sort of distribution a filename names, by its spelling alone; never fails.

    >>> kind_of("numpy-1.0.linux-x86_64.tar.gz")
    'dumb'
    """
    lowered = filename.lower()
    for extension, kind in _KINDS:
        if lowered.endswith(extension):
            if kind == "sdist" and _DUMB.search(lowered[: -len(extension)]):
                return "dumb"
            return kind
    return "other"


def version_in(filename: str, project: ProjectName) -> str:
    """The version that a file of this project has, as its name spells it; "" when it cannot be told.

    >>> version_in("a-b-1-2.tar.gz", ProjectName("a-b"))
    '1-2'
    """
    stem, kind = _stem(filename)
    if kind == "wheel":
        parts = stem.split("-")
        if len(parts) in {5, 6} and normalized_or_none(parts[0]) == project:
            return parts[1]
    for separator in _separators(stem, kind):
        if normalized_or_none(stem[:separator]) == project:
            version = _without_platform(stem[separator + 1 :], kind)
            if version:
                return version
    return ""


def candidate_projects(filename: str) -> tuple[ProjectName, ...]:
    """Every project this file may belong to by its spelling, most likely first; at most a dozen.

    >>> candidate_projects("a-b-1.0.tar.gz")
    ('a-b', 'a', 'a-b-1-0')
    """
    stem, kind = _stem(filename)
    likely: list[str] = []
    possible: list[str] = []
    unlikely: list[str] = []
    # A name is rarely cut in more places than this; a hostile one may have hundreds of dashes.
    separators = _separators(stem, kind)[: 4 * CANDIDATE_LIMIT]
    if kind == "wheel" and stem.count("-") in {4, 5}:
        likely.append(stem.partition("-")[0])
    for separator in separators:
        rest = _without_platform(stem[separator + 1 :], kind)
        if is_pep440(rest):
            likely.append(stem[:separator])
        elif rest[:1].isdigit():
            possible.append(stem[:separator])
        else:
            unlikely.append(stem[:separator])
    # Without a version at all, the whole stem is the name. Of the unlikely ones the longest are the likeliest.
    spelled = [*likely, *possible, *reversed(unlikely), stem]
    names = (normalized_or_none(name) for name in spelled)
    return tuple(dict.fromkeys(name for name in names if name))[:CANDIDATE_LIMIT]


def _parse_wheel(filename: str, problems: list[str]) -> UploadName | None:
    """PEP 427: `name-version(-build)?-python-abi-platform.whl`. Appends to `problems`."""
    parts = filename.removesuffix(".whl").split("-")
    if len(parts) not in {5, 6}:
        problems.append(
            f"the wheel name {filename!r} has {len(parts)} parts between dashes; it must have 5, or 6 with a build number"
        )
        return None
    name_part, version = parts[0], parts[1]
    build = parts[2] if len(parts) == 6 else ""
    python, abi, platform = parts[-3:]
    project = normalized_or_none(name_part)
    if project is None or "__" in name_part:
        problems.append(f"{name_part!r} in {filename!r} is not a project name; write it normalised, with '_' for '-'")
    if not _VERSION_MARKS.fullmatch(version) or not is_pep440(version):
        problems.append(f"{version!r} in {filename!r} is not a version (PEP 440)")
    if len(parts) == 6 and not _BUILD.fullmatch(build):
        problems.append(f"the build number {build!r} in {filename!r} does not begin with a digit")
    sets = [python.split("."), abi.split("."), platform.split(".")]
    wrong = [tag for tags in sets for tag in tags if not _TAG.fullmatch(tag)]
    if wrong:
        problems.append(f"{filename!r} has malformed tags: {', '.join(map(repr, wrong[:5]))}")
    count = len(sets[0]) * len(sets[1]) * len(sets[2])
    if count > TAG_LIMIT:
        problems.append(f"the tags of {filename!r} stand for {count} combinations; the limit is {TAG_LIMIT}")
    if problems or project is None:
        return None
    return UploadName(
        filename=filename,
        project=project,
        name_part=name_part,
        version=version,
        kind="wheel",
        python_tag=python,
        build=build,
        tags=frozenset("-".join(tag) for tag in product(*sets)),
    )


def _parse_sdist(filename: str, problems: list[str], *, any_spelling: bool) -> UploadName | None:
    """PEP 625: `name_with_underscores-version.tar.gz`. Appends to `problems`."""
    stem = filename.removesuffix(".tar.gz")
    # Only a name of the older spelling can have several dashes; the version has none (PEP 625), so the last one counts.
    name_part, dash, version = stem.rpartition("-")
    if not dash:
        problems.append(f"the sdist name {filename!r} has no version; it must be name-version.tar.gz")
        return None
    project = normalized_or_none(name_part)
    if project is None:
        problems.append(f"{name_part!r} in {filename!r} is not a project name")
    if not _VERSION_MARKS.fullmatch(version) or not is_pep440(version):
        problems.append(f"{version!r} in {filename!r} is not a version (PEP 440)")
    if problems or project is None:
        return None
    expected = f"{project.replace('-', '_')}-{canonical_version(version, strip_zeros=False)}.tar.gz"
    if filename != expected and not any_spelling:  # VA-27
        problems.append(f"the sdist must be named {expected!r} (PEP 625), not {filename!r}; newer build tools do so")
        return None
    return UploadName(
        filename=filename, project=project, name_part=name_part, version=version, kind="sdist", python_tag="source"
    )


def _stem(filename: str) -> tuple[str, FileKind]:
    """The filename without its extension, and its kind."""
    name = filename[: 4 * FILENAME_LIMIT]
    lowered = name.lower()
    for extension, _ in _KINDS:
        if lowered.endswith(extension):
            return name[: -len(extension)], kind_of(name)
    return name, "other"


def _separators(stem: str, kind: FileKind) -> list[int]:
    """Where the name may end and the version begin, from the left."""
    marks = "-_" if kind == "deb" else "-"
    return [place for place, mark in enumerate(stem) if mark in marks and place]


def _without_platform(rest: str, kind: FileKind) -> str:
    """Cut what follows the version in the names of built distributions."""
    match kind:
        case "egg" | "wininst" | "msi" | "dmg" | "dumb":
            rest = _DUMB.split(_PYTHON_SUFFIX.split(rest, maxsplit=1)[0], maxsplit=1)[0]
        case "rpm":  # version-release.architecture
            rest = _RPM_SUFFIX.sub("", rest)
        case "deb":  # version-revision_architecture
            rest = re.sub(r"(?:-[0-9][\w.~+]*)?_[a-z0-9]+\Z", "", rest)
        case "wheel":
            rest = rest.split("-", 1)[0]
        case _:
            pass
    return rest


# Longest first where one ends with another.
_KINDS: tuple[tuple[str, FileKind], ...] = (
    (".whl", "wheel"),
    (".tar.gz", "sdist"),
    (".tar.bz2", "sdist"),
    (".tar.xz", "sdist"),
    (".tar.zst", "sdist"),
    (".tar.lzma", "sdist"),
    (".tar.lz", "sdist"),
    (".tar.z", "sdist"),
    (".tgz", "sdist"),
    (".tbz", "sdist"),
    (".txz", "sdist"),
    (".tlz", "sdist"),
    (".tar", "sdist"),
    (".zip", "sdist"),
    (".egg", "egg"),
    (".exe", "wininst"),
    (".msi", "msi"),
    (".rpm", "rpm"),
    (".deb", "deb"),
    (".dmg", "dmg"),
)

_WHY_NOT: dict[FileKind, str] = {
    "sdist": "{shown} is not a .tar.gz: source distributions are gzipped tar files only (PEP 625); "
    "`python -m build --sdist` makes one",
    "wheel": "{shown} must end with .whl in lower case",
    "egg": "{shown} is an egg; eggs are no longer uploaded (PEP 715): build a wheel",
    "wininst": "{shown} is a Windows installer; those are no longer uploaded (PEP 527): build a wheel",
    "msi": "{shown} is a Windows installer; those are no longer uploaded (PEP 527): build a wheel",
    "rpm": "{shown} is an RPM; those are no longer uploaded (PEP 527): build a wheel",
    "deb": "{shown} is a Debian package; those are not uploaded (PEP 527): build a wheel",
    "dmg": "{shown} is a disk image; those are no longer uploaded (PEP 527): build a wheel",
    "dumb": "{shown} is a dumb binary archive; those are no longer uploaded (PEP 527): build a wheel",
}
_NEITHER = "{shown} is not a valid archive name: it is neither a wheel (.whl) nor a source distribution (.tar.gz)"

_VERSION_MARKS = re.compile(r"[A-Za-z0-9._+!]+")  # is_pep440 would let white space pass
_BUILD = re.compile(r"[0-9][A-Za-z0-9_.]*")
_TAG = re.compile(r"[A-Za-z0-9_]+")
# `.linux-x86_64`, `.macosx-10.9-x86_64`, `.win32`, `.win-amd64`: what bdist_dumb and the Windows installers append.
_DUMB = re.compile(
    r"\.(?:linux-[a-z]\w*|macosx-[\d.]+-\w+|(?:darwin|solaris|freebsd|cygwin)-[\w.-]+|win32|win-(?:amd64|arm\d*|ia64)|noarch)\Z"
)
_PYTHON_SUFFIX = re.compile(r"-py[0-9]")
_RPM_SUFFIX = re.compile(r"(?:-[0-9][\w.~+]*)?\.(?:noarch|src|i[3-6]86|x86_64|aarch64|ppc64(?:le)?|s390x?|armv7hl)\Z")
