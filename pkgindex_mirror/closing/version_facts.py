"""The needs of a distribution by its metadata, as one small value that can be kept. Pure.

A wheel says everything. A source distribution says what it needs only if its metadata is of version 2.2 or later and does not call
`Requires-Dist` dynamic (PEP 643), or if its pyproject.toml has the dependencies (PEP 621). Otherwise the projects that it names are taken
in all versions, and `unknown` says so.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from msgspec import Struct
from msgspec.structs import replace
from packaging.requirements import InvalidRequirement, Requirement

from pkgindex_core.formats.core_metadata import read_metadata
from pkgindex_core.formats.metadata_values import CoreMetadata
from pkgindex_core.formats.versions import version_key

LEGACY_BUILD: Final = ("setuptools>=40.8.0",)
"""The build requirements of a project without `[build-system]` (PEP 518 and the default of installers)."""
_ASKED_FOR_BY_SETUPTOOLS: Final = "wheel"
"""The build backend of setuptools before 70.1 asks for it when a wheel is built (PEP 517, `get_requires_for_build_wheel`)."""
_STATIC_SINCE: Final = version_key("2.2")
LONGEST: Final = 4096
"""Characters of the longest requirement or specifier that is read. Real ones have some hundred."""
_HEADERS_END: Final = re.compile(rb"\r?\n\r?\n")
_SECTION: Final = re.compile(r"\[([^:\]]*)(?::(.*))?\]")


class VersionFacts(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The needs of one file."""

    requires_dist: tuple[str, ...] = ()
    requires_python: str = ""
    build_requires: tuple[str, ...] = ()
    """Of a source distribution: what must be installed to build it."""
    unknown: str = ""
    """A clause about things that are not known; empty: everything is known."""
    guessed: bool = False
    """Whether `requires_dist` is only what a source distribution names, without specifiers."""


def facts_of_wheel(metadata: bytes) -> VersionFacts:
    """Read the METADATA of a wheel."""
    read = _headers(metadata)
    kept, broken = _readable(read.requires_dist)
    return VersionFacts(requires_dist=tuple(kept), requires_python=_python(read), unknown=_broken_clause(broken))


def facts_of_sdist(metadata: bytes | None, pyproject: bytes | None, requires: bytes | None = None) -> VersionFacts:
    """Read the PKG-INFO, the pyproject.toml and the `requires.txt` in the `.egg-info` of a source distribution; None: it has none."""
    read = _headers(metadata or b"")
    document = _document(pyproject)
    build, unbuilt = _build_requires(document)
    stated = _stated(read, document)
    if stated is None:
        named = [*read.requires_dist, *_egg_requirements(requires or b"")]
        found, broken = _readable(_loosened(each) for each in named)
        unknown = "its dependencies are known only when it is built"
        if found:
            unknown += ": those that it names are taken in all versions"
    else:
        found, broken = _readable(stated)
        unknown = _broken_clause(broken)
    return VersionFacts(
        requires_dist=tuple(dict.fromkeys(found)),
        requires_python=_python(read),
        build_requires=tuple(build),
        unknown="; ".join(filter(None, [unknown, _broken_clause(unbuilt)])),
        guessed=stated is None,
    )


def completed(facts: VersionFacts, other: VersionFacts) -> VersionFacts:
    """The facts of a file that does not say everything, with the requirements of another file of the same version."""
    known = other.requires_dist if facts.guessed else (*facts.requires_dist, *other.requires_dist)
    if other.unknown:
        known, unknown = (*facts.requires_dist, *other.requires_dist), facts.unknown
    else:
        unknown = ""
    return replace(
        facts,
        requires_dist=tuple(dict.fromkeys(known)),
        requires_python=facts.requires_python or other.requires_python,
        unknown=unknown,
        guessed=facts.guessed and bool(unknown),
    )


def _headers(metadata: bytes) -> CoreMetadata:
    """Read the fields without the description, which may be long."""
    return read_metadata(_HEADERS_END.split(metadata, maxsplit=1)[0])


def _python(read: CoreMetadata) -> str:
    return read.requires_python if len(read.requires_python) <= LONGEST else ""


def _stated(read: CoreMetadata, document: Mapping[str, Any] | None) -> list[str] | None:
    """The dependencies that cannot change when the file is built; None: it does not say."""
    dynamic = {each.lower() for each in read.dynamic}
    is_new = read.metadata_version and version_key(read.metadata_version) >= _STATIC_SINCE
    if is_new and not dynamic & {"requires-dist", "provides-extra"}:
        return list(read.requires_dist)
    project = (document or {}).get("project")
    if not isinstance(project, dict) or {"dependencies", "optional-dependencies"} & {*_texts(project.get("dynamic"))}:
        return None
    optional = project.get("optional-dependencies")
    return [
        *_texts(project.get("dependencies")),
        *(
            _with_extra(text, extra)
            for extra, listed in (optional.items() if isinstance(optional, dict) else ())
            for text in _texts(listed)
        ),
    ]


def _document(pyproject: bytes | None) -> Mapping[str, Any] | None:
    try:
        return tomllib.loads((pyproject or b"").decode())
    except (
        ValueError,
        RecursionError,
    ):  # TOMLDecodeError, UnicodeDecodeError, and that of a number with too many digits
        return None


def _build_requires(document: Mapping[str, Any] | None) -> tuple[list[str], list[str]]:
    """The build requirements that can be read, and the others."""
    system = (document or {}).get("build-system")
    listed = _texts(system.get("requires")) if isinstance(system, dict) and "requires" in system else LEGACY_BUILD
    kept, broken = _readable(listed)
    if any(re.match(r"setuptools(?![\w.-])", each, re.IGNORECASE) for each in kept):
        kept.append(_ASKED_FOR_BY_SETUPTOOLS)
    return [*dict.fromkeys(kept)], broken


def _readable(texts: Iterable[str]) -> tuple[list[str], list[str]]:
    kept: list[str] = []
    broken: list[str] = []
    for text in texts:
        try:
            if len(text) > LONGEST:
                raise InvalidRequirement("too long")
            Requirement(text)
        except (InvalidRequirement, RecursionError):
            broken.append(text)
        else:
            kept.append(text)
    return kept, broken


def _broken_clause(broken: list[str]) -> str:
    return f"its requirement {broken[0][:80]!r} cannot be read" if broken else ""


def _loosened(text: str) -> str:
    """A requirement without specifier and without the markers of environments, which may differ from those of the built wheel."""
    if _readable([text])[1]:
        return text
    requirement = Requirement(text)
    extras = f"[{','.join(sorted(requirement.extras))}]" if requirement.extras else ""
    wanted = re.findall(r"""\bextra\s*==\s*["']([^"']+)["']""", str(requirement.marker or ""))
    condition = " or ".join(f"extra == '{each}'" for each in wanted)
    return f"{requirement.name}{extras}{f' ; {condition}' if condition else ''}"


def _with_extra(text: str, extra: str) -> str:
    """A requirement of an extra (PEP 621), as core metadata writes it."""
    requirement, mark, marker = text.partition(";")
    joined = f"({marker.strip()}) and extra == '{extra}'" if mark else f"extra == '{extra}'"
    return f"{requirement.strip()} ; {joined}"


def _egg_requirements(data: bytes) -> Iterator[str]:
    """The lines of a `requires.txt` of setuptools: sections `[extra]`, `[:marker]` and `[extra:marker]`."""
    extra, marker = "", ""
    for line in data.decode("utf-8", "replace").splitlines():
        text = line.partition("#")[0].strip()
        if found := _SECTION.fullmatch(text):
            extra, marker = found[1].strip(), (found[2] or "").strip()
        elif text:
            whole = f"{text} ; {marker}" if marker else text
            yield _with_extra(whole, extra) if extra else whole


def _texts(value: Any) -> list[str]:
    return [each for each in value if isinstance(each, str)] if isinstance(value, list) else []
