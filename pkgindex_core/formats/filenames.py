"""Reads kind, project and version from filenames.

`parse_upload_filename` is strict: it follows the rules of uploads (under `pypi` PEP 427 and PEP 625) and reports problems.
`version_in` and `candidate_projects` never fail: mirrors list files of every age (.egg, .exe, .msi, .rpm, .tar.bz2, dumb
archives), which must neither break a page nor be left out.
"""

from __future__ import annotations

import re
from functools import lru_cache
from itertools import product
from typing import Final, Literal

from msgspec import Struct
from msgspec.structs import replace

from pkgindex_core.errors import Refused
from pkgindex_core.formats.upload_rules import PYPI, Findings, Unusual, UploadRules
from pkgindex_core.formats.versions import LEGACY_MARKS, canonical_version, is_pep440, same_version, version_key
from pkgindex_core.names import ProjectName, normalized_or_none

__all__ = [
    "FileKind",
    "UploadKind",
    "UploadName",
    "candidate_projects",
    "canonical_version",
    "is_usual_version",
    "kind_of",
    "leads_to",
    "parse_upload_filename",
    "sdist_ending",
    "version_in",
    "version_key",
]

UploadKind = Literal["wheel", "sdist", "egg", "wininst", "msi", "rpm", "deb", "dmg", "dumb"]
FileKind = Literal[UploadKind, "other"]

FILENAME_LIMIT = 255
"""The most characters, which is the limit of usual file systems."""
TAG_LIMIT = 500
"""The most tags to which one wheel may expand. Real wheels have a dozen; a compressed tag set multiplies (PEP 425)."""
CANDIDATE_LIMIT = 12
_USUAL_VERSION: Final = re.compile(r"[0-9]+(?:\.[0-9]+)*(?:(?:a|b|rc)[0-9]+)?(?:\.post[0-9]+)?(?:\.dev[0-9]+)?")
_REMEMBERED: Final = 16_384
"""Versions; some megabytes."""


class UploadName(Struct, frozen=True, kw_only=True):
    """The parts of a filename that may be uploaded."""

    filename: str
    project: ProjectName
    name_part: str
    """The project's name as the filename spells it."""
    version: str
    """As the filename spells it, except that a `_` for a `-` is restored."""
    version_part: str
    kind: UploadKind
    python_tag: str
    """Of a wheel, for example `py2.py3`; `source` for a source distribution, as in upload forms; otherwise empty."""
    build: str = ""
    tags: frozenset[str] = frozenset()
    """Of a wheel: every `python-abi-platform` of its compressed tag set."""
    warnings: tuple[str, ...] = ()
    """Unusual properties of the name that the rules accept."""

    @property
    def stem(self) -> str:
        """`name-version`, with which `.dist-info` and the top directory of a source distribution begin."""
        return f"{self.name_part}-{self.version_part}"

    def is_spelled(self, stem: str) -> bool:
        """Whether a `name-version` means this project and version."""
        return any(
            normalized_or_none(stem[:place]) == self.project and same_version(stem[place + 1 :], self.version)
            for place, mark in enumerate(stem[:FILENAME_LIMIT])
            if mark == "-"
        )


def parse_upload_filename(
    filename: str, rules: UploadRules = PYPI, *, project: str = "", version: str = ""
) -> UploadName:
    """Read the filename of an upload. Raises `Refused` with all problems.

    Old names can be split into name and version in several ways. `project` and `version`, from the form or the metadata, select
    one of them. The caller checks that they agree with the result.
    """
    if not filename:
        raise Refused("the file has no name", hint="send the file part with a filename")
    findings = Findings(rules)
    shown = repr(filename[:300])
    # PyPI refuses these characters too. They are reported first, and alone if the rest of the name cannot be read.
    if _CONTROL.search(filename):
        findings.refuse(f"the filename {shown} has control characters")
    if "/" in filename or "\\" in filename:
        findings.refuse(f"the filename {shown} has path separators")
    if len(filename) > FILENAME_LIMIT:
        findings.refuse(f"the filename is longer than {FILENAME_LIMIT} characters")
    if not filename.isascii():
        findings.refuse(f"the filename {shown} has characters outside ASCII")
    legible = not findings.problems
    name = None
    kind = kind_of(filename)
    if kind == "other" or (kind == "sdist" and not sdist_ending(filename)):
        findings.refuse(
            f"{shown} is not a valid archive name: it is neither a wheel (.whl) nor a source distribution (.tar.gz)"
        )
    elif kind == "wheel" and not filename.endswith(".whl"):
        findings.refuse(f"{shown} must end with .whl in lower case")
    else:
        if kind in _NO_LONGER:
            findings.unusual(Unusual.BUILT_FORMAT, f"{shown} is {_NO_LONGER[kind]}")
        if legible:
            parse = _parse_wheel if kind == "wheel" else _parse_other
            name = parse(filename, kind, findings, project, version)
    if name is None or findings.problems:
        raise Refused(
            findings.problems,
            hint="upload wheels (name-version-python-abi-platform.whl) and sdists (name-version.tar.gz)",
        )
    return replace(name, warnings=findings.warnings)


def kind_of(filename: str) -> FileKind:
    """The kind of distribution that a filename names, by its spelling alone; never fails.

    >>> kind_of("numpy-1.0.linux-x86_64.tar.gz")
    'dumb'
    """
    found = _ending(filename.lower())
    return found[1] if found is not None else "other"


def sdist_ending(filename: str) -> str:
    """The ending of a source distribution's name, in lower case; "" for any other file.

    >>> sdist_ending("a-1.tar.gz"), sdist_ending("a-1.ZIP"), sdist_ending("a-1.win32.zip")
    ('.tar.gz', '.zip', '')
    """
    lowered = filename.lower()
    return next((end for end in SDIST_ENDINGS if lowered.endswith(end)), "") if kind_of(filename) == "sdist" else ""


def version_in(filename: str, project: ProjectName) -> str:
    """The version of a file of this project, as its name spells it; "" when it is unknown.

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
    """The projects to which a file may belong by its spelling, the most likely first; at most a dozen.

    >>> candidate_projects("a-b-1.0.tar.gz")
    ('a-b', 'a', 'a-b-1-0')
    """
    stem, kind = _stem(filename)
    likely: list[str] = []
    possible: list[str] = []
    unlikely: list[str] = []
    # Real names have few separators; a hostile one may have hundreds.
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
    # Without a version the whole stem is the name. Among the unlikely names, longer ones are likelier.
    spelled = [*likely, *possible, *reversed(unlikely), stem]
    names = (normalized_or_none(name) for name in spelled)
    return tuple(dict.fromkeys(name for name in names if name))[:CANDIDATE_LIMIT]


def likeliest_project(filename: str) -> ProjectName | None:
    """The first of `candidate_projects`; None when there is none. Fast for wheels in today's form.

    >>> likeliest_project("a_b-1.0-py3-none-any.whl")
    'a-b'
    """
    name, _, rest = filename.partition("-")
    if len(filename) <= FILENAME_LIMIT and rest.endswith(".whl") and rest.count("-") in {3, 4}:
        project = normalized_or_none(name)
        if project is not None:
            return project
    return next(iter(candidate_projects(filename)), None)


def leads_to(filename: str, project: ProjectName) -> bool:
    """Whether a file may belong to a project by its spelling (`candidate_projects`). Fast for names in today's form."""
    name, _, rest = filename.partition("-")
    if len(filename) > FILENAME_LIMIT:
        is_usual = False
    elif rest.endswith(".whl"):
        is_usual = rest.count("-") in {3, 4}
    else:
        is_usual = rest.endswith(".tar.gz") and is_usual_version(rest.removesuffix(".tar.gz"))
    if is_usual and normalized_or_none(name) == project:
        return True
    stem, kind = _stem(filename)
    separators = _separators(stem, kind)
    if len(separators) >= CANDIDATE_LIMIT:
        return project in candidate_projects(filename)
    # The part before each of so few separators is a candidate, and so is the whole.
    return any(normalized_or_none(stem[:end]) == project for end in (*separators, len(stem)))


@lru_cache(maxsize=_REMEMBERED)
def is_usual_version(version: str) -> bool:
    """Whether a version is as the names of source distributions spell it: what stands before the dash before it is the likeliest project.

    Remembered, as `versions` remembers: projects share most of their versions. For what is no longer than a filename.
    """
    return _USUAL_VERSION.fullmatch(version) is not None


def _parse_wheel(
    filename: str, kind: UploadKind, findings: Findings, _project: str, _version: str
) -> UploadName | None:
    """PEP 427: `name-version(-build)?-python-abi-platform.whl`."""
    parts = filename.removesuffix(".whl").split("-")
    if len(parts) not in {5, 6}:
        findings.refuse(
            f"the wheel name {filename!r} has {len(parts)} parts between dashes; it must have 5, or 6 with a build number"
        )
        return None
    name_part, version = parts[0], parts[1]
    build = parts[2] if len(parts) == 6 else ""
    python, abi, platform = parts[-3:]
    project = normalized_or_none(name_part)
    if project is None or not _VERSION_MARKS.fullmatch(version):
        what = "a version (PEP 440)" if project else "a project name; write it normalised, with '_' for '-'"
        findings.refuse(f"{version if project else name_part!r} in {filename!r} is not {what}")
        return None
    if "__" in name_part:
        findings.unusual(
            Unusual.WHEEL_NAME,
            f"{name_part!r} in {filename!r} is not a project name; it is written {project.replace('-', '_')!r}",
        )
    said = _unescaped(version)
    if not is_pep440(version):
        _check_version(version, said, findings)
    if len(parts) == 6 and not _BUILD.fullmatch(build):
        findings.refuse(f"the build number {build!r} in {filename!r} does not begin with a digit")
    sets = [python.split("."), abi.split("."), platform.split(".")]
    wrong = [tag for tags in sets for tag in tags if not _TAG.fullmatch(tag)]
    if wrong:
        findings.refuse(f"{filename!r} has malformed tags: {', '.join(map(repr, wrong[:5]))}")
    count = len(sets[0]) * len(sets[1]) * len(sets[2])
    if count > TAG_LIMIT:
        findings.refuse(f"the tags of {filename!r} stand for {count} combinations; the limit is {TAG_LIMIT}")
        return None
    return UploadName(
        filename=filename,
        project=project,
        name_part=name_part,
        version=said,
        version_part=version,
        kind=kind,
        python_tag=python,
        build=build,
        tags=frozenset("-".join(tag) for tag in product(*sets)),
    )


def _parse_other(filename: str, kind: UploadKind, findings: Findings, project: str, version: str) -> UploadName | None:
    """PEP 625: `name_with_underscores-version.tar.gz`. Other names are split where name and version fit best."""
    stem, _ = _stem(filename)
    cuts = [
        (name, _without_platform(stem[place + 1 :], kind))
        for place in _separators(stem, kind)
        if normalized_or_none(name := stem[:place])
    ]
    cuts = [(name, rest) for name, rest in cuts if rest]
    if not cuts:
        name_part, dash, _ = stem.rpartition("-")
        findings.refuse(
            f"{name_part!r} in {filename!r} is not a project name"
            if dash
            else f"the name {filename!r} has no version; it must be name-version.tar.gz"
        )
        return None
    wanted = normalized_or_none(project)
    # The first best fit: the given name, then the given version, then any version.
    name_part, spelled = min(
        cuts,
        key=lambda cut: (
            wanted is not None and normalized_or_none(cut[0]) != wanted,
            bool(version) and not same_version(cut[1], version),
            not is_pep440(cut[1]),
            not cut[1][0].isdigit(),
        ),
    )
    if not LEGACY_MARKS.fullmatch(spelled):
        findings.refuse(f"{spelled!r} in {filename!r} is not a version (PEP 440)")
        return None
    if not _MARKS.fullmatch(filename):
        findings.refuse(f"{filename!r} has characters other than letters, digits and '.', '_', '-', '+', '!', '~'")
        return None
    found = normalized_or_none(name_part)
    if found is None:
        return None
    said = _unescaped(spelled)
    if not is_pep440(said):
        _check_version(spelled, said, findings)
    elif kind == "sdist":
        _check_sdist_name(filename, found, said, findings)
    if kind == "sdist" and not is_pep440(said) and not filename.endswith(".tar.gz"):
        findings.unusual(Unusual.SDIST_FORMAT, f"{filename!r} is not a .tar.gz")
    return UploadName(
        filename=filename,
        project=found,
        name_part=name_part,
        version=said,
        version_part=spelled,
        kind=kind,
        python_tag="source" if kind == "sdist" else "",
    )


def _check_sdist_name(filename: str, project: ProjectName, version: str, findings: Findings) -> None:
    """PEP 625: the one name of a source distribution is `{normalised name with _}-{version}.tar.gz`."""
    expected = f"{project.replace('-', '_')}-{canonical_version(version, strip_zeros=False)}.tar.gz"
    if not filename.endswith(".tar.gz"):
        findings.unusual(Unusual.SDIST_FORMAT, f"{filename!r} is not a .tar.gz; PEP 625 names it {expected!r}")
    elif filename != expected:
        findings.unusual(Unusual.SDIST_NAME, f"the sdist is named {filename!r}; PEP 625 names it {expected!r}")


def _check_version(spelled: str, version: str, findings: Findings) -> None:
    instead = f"; it is written {canonical_version(version, strip_zeros=False)!r}" if is_pep440(version) else ""
    findings.unusual(Unusual.VERSION, f"the version {spelled!a} is not a version (PEP 440){instead}")


def _unescaped(version: str) -> str:
    """The version with `-` restored: filenames of wheels and eggs have `_` instead."""
    return version if is_pep440(version) else version.replace("_", "-")


def _stem(filename: str) -> tuple[str, FileKind]:
    """The filename without its extension, and its kind."""
    name = filename[: 4 * FILENAME_LIMIT]
    found = _ending(name.lower())
    return (name[: -len(found[0])], found[1]) if found is not None else (name, "other")


def _ending(lowered: str) -> tuple[str, FileKind] | None:
    """The extension of a filename in lower case, and the kind; None for a filename without a known one."""
    for extension, kind in _KINDS_BY_LAST_PART.get(lowered.rpartition(".")[2], ()):
        if lowered.endswith(extension):
            is_dumb = kind == "sdist" and re.search(_DUMB, lowered[: -len(extension)])
            return extension, "dumb" if is_dumb else kind
    return None


def _separators(stem: str, kind: FileKind) -> list[int]:
    """The positions at which the name may end and the version begin, from the left."""
    marks = "-_" if kind == "deb" else "-"
    return [place for place, mark in enumerate(stem) if mark in marks and place]


def _without_platform(rest: str, kind: FileKind) -> str:
    """Remove the part after the version in the names of built distributions."""
    match kind:
        case "egg" | "wininst" | "msi" | "dmg" | "dumb":
            rest = re.split(_DUMB, _PYTHON_SUFFIX.split(rest, maxsplit=1)[0], maxsplit=1)[0]
        case "rpm":  # version-release.architecture
            rest = re.sub(_RPM_SUFFIX, "", rest)
        case "deb":  # version-revision_architecture
            rest = re.sub(r"(?:-[0-9][\w.~+]*)?_[a-z0-9]+\Z", "", rest)
        case "wheel":
            rest = rest.split("-", 1)[0]
        case _:
            pass
    return rest


# If one ending ends with another, the longer one comes first.
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

_KINDS_BY_LAST_PART: Final = {
    last: tuple(each for each in _KINDS if each[0].rpartition(".")[2] == last)
    for last in {extension.rpartition(".")[2] for extension, _ in _KINDS}
}
"""The extensions by what follows their last dot."""

SDIST_ENDINGS: Final = (".tar.gz", ".tgz", ".tar.bz2", ".tbz", ".tar.xz", ".tar.z", ".zip")
"""The endings of source distributions that may be uploaded, in lower case."""

_NO_LONGER: dict[FileKind, str] = {
    "egg": "an egg; PyPI takes none since PEP 715",
    "wininst": "a Windows installer; PyPI takes none since PEP 527",
    "msi": "a Windows installer; PyPI takes none since PEP 527",
    "rpm": "an RPM; PyPI takes none since PEP 527",
    "deb": "a Debian package; PyPI takes none since PEP 527",
    "dmg": "a disk image; PyPI takes none since PEP 527",
    "dumb": "a dumb binary archive; PyPI takes none since PEP 527",
}

_VERSION_MARKS = re.compile(r"[A-Za-z0-9._+!]+")  # is_pep440 accepts white space
_MARKS = re.compile(r"[A-Za-z0-9._+!~-]+")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_BUILD = re.compile(r"[0-9][A-Za-z0-9_.]*")
_TAG = re.compile(r"[A-Za-z0-9_]+")
# `.linux-x86_64`, `.macosx-10.9-x86_64`, `.win32`, `.win-amd64`: what bdist_dumb and the Windows installers append. Rare, so compiled at the first use.
_DUMB = r"\.(?:linux-[a-z]\w*|macosx-[\d.]+-\w+|(?:darwin|solaris|freebsd|cygwin)-[\w.-]+|win32|win-(?:amd64|arm\d*|ia64)|noarch)\Z"
_PYTHON_SUFFIX = re.compile(r"-py[0-9]")
_RPM_SUFFIX = r"(?:-[0-9][\w.~+]*)?\.(?:noarch|src|i[3-6]86|x86_64|aarch64|ppc64(?:le)?|s390x?|armv7hl)\Z"
