"""Reads lock files: pylock.toml (PEP 751), uv.lock, poetry.lock and Pipfile.lock.

A lock names every dependency, with the files from which an installer chooses. Packages that do not come from an index (version
control, directories, archives by URL) are reported.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any, Final
from urllib.parse import unquote, urlsplit

from packaging.markers import InvalidMarker, Marker
from packaging.pylock import Pylock, PylockUnsupportedVersionError, PylockValidationError
from packaging.specifiers import InvalidSpecifier, SpecifierSet

from pkgindex_core.errors import Refused
from pkgindex_core.names import normalized_or_none
from pkgindex_mirror.prefetching.requirement_files import RequirementFile, read_requirements
from pkgindex_mirror.prefetching.wanted import Wanted

_EXTRA: Final = re.compile(r"\bextra\b")


def read_wanted(path: Path) -> RequirementFile:
    """Read a file as the lock file that its name says, and any other file as requirements. Raises `Refused` if it cannot be read."""
    name = path.name.lower()
    if name == "uv.lock" or name.endswith(".py.lock"):  # of a project, or of a script
        return _read(path, _toml, _uv)
    if name == "poetry.lock":
        return _read(path, _toml, _poetry)
    if name == "pipfile.lock":
        return _read(path, json.loads, _pipfile)
    if name.endswith(".toml"):
        return _read(path, _toml, _pylock)
    return read_requirements(path)


class _Lock:
    """Collects the contents of one lock file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.wanted: list[Wanted] = []
        self.left_out: list[str] = []
        self.choices: frozenset[str] = frozenset()
        """Its extras and dependency groups."""

    def add(
        self,
        name: str,
        version: str | None,
        *,
        filenames: Iterable[str] = (),
        hashes: Iterable[str] = (),
        marker: str | None = None,
    ) -> None:
        project = normalized_or_none(name)
        if project is None or not version:
            self.skip(name)
            return
        self.wanted.append(
            Wanted(
                project=project,
                specifier=SpecifierSet(f"=={version}"),
                marker=Marker(marker) if marker else None,
                choices=self.choices,
                filenames=frozenset(filenames),
                sha256s=frozenset(_sha256(each) for each in hashes) - {""},
                follow=False,
                where=f"{self.path}, {name}",
            )
        )

    def skip(self, name: str) -> None:
        self.left_out.append(f"{self.path}: {name} does not come from an index")


def _read(
    path: Path, parse: Callable[[bytes], Any], read: Callable[[_Lock, Mapping[str, Any]], None]
) -> RequirementFile:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise Refused(f"{path} cannot be read: {error.strerror}") from error
    lock = _Lock(path)
    try:
        read(lock, parse(data))
    except (
        AttributeError, KeyError, TypeError, ValueError,
        InvalidMarker, InvalidSpecifier, PylockValidationError, PylockUnsupportedVersionError,
    ) as error:  # fmt: skip
        raise Refused(f"{path} is no valid {path.name}: {error}") from error
    return RequirementFile(tuple(lock.wanted), tuple(lock.left_out))


def _toml(data: bytes) -> Any:
    return tomllib.loads(data.decode())


def _pylock(lock: _Lock, document: Mapping[str, Any]) -> None:
    pylock = Pylock.from_dict(document)
    lock.choices = frozenset(
        [*(pylock.extras or ()), *(pylock.dependency_groups or ()), *(pylock.default_groups or ())]
    )
    for package in pylock.packages:
        files = [*(package.wheels or ()), *([package.sdist] if package.sdist else ())]
        if not files:
            lock.skip(package.name)
            continue
        lock.add(
            package.name,
            str(package.version) if package.version else None,
            filenames=[each.name or _filename(each.url or each.path or "") for each in files],
            hashes=[f"sha256:{each.hashes.get('sha256', '')}" for each in files],
            marker=str(package.marker) if package.marker else None,
        )


def _uv(lock: _Lock, document: Mapping[str, Any]) -> None:
    packages = document.get("package", [])
    manifest = document.get("manifest", {})
    # The requirements of a workspace without a project of its own.
    own = {"dependencies": manifest.get("requirements", []), "dev-dependencies": manifest.get("dependency-groups", {})}
    markers = _uv_markers([*packages, own])
    for package in packages:
        source = package.get("source", {})
        if "registry" not in source:
            if not source.keys() & {"virtual", "editable"}:  # the locked project itself
                lock.skip(package["name"])
            continue
        files = [*package.get("wheels", []), *([package["sdist"]] if "sdist" in package else [])]
        lock.add(
            package["name"],
            package.get("version"),
            filenames=[_filename(each.get("url") or each.get("path") or each.get("filename", "")) for each in files],
            hashes=[each.get("hash", "") for each in files],
            marker=_any_of({*markers[package["name"], None], *markers[package["name"], package.get("version")]}),
        )


def _uv_markers(packages: Sequence[Mapping[str, Any]]) -> Mapping[tuple[str, str | None], set[str]]:
    """The markers of the dependencies on each package. A version is named if the lock has several.

    "" stands for any environment: also where a marker asks for an extra, since all of them are wanted.
    """
    markers: dict[tuple[str, str | None], set[str]] = defaultdict(set)
    for package in packages:
        groups = [*package.get("optional-dependencies", {}).values(), *package.get("dev-dependencies", {}).values()]
        for each in chain(package.get("dependencies", []), *groups):
            marker = each.get("marker", "")
            markers[each["name"], each.get("version")].add("" if _EXTRA.search(marker) else marker)
    return markers


def _any_of(markers: Collection[str]) -> str | None:
    return None if not markers or "" in markers else " or ".join(f"({each})" for each in sorted(markers))


def _poetry(lock: _Lock, document: Mapping[str, Any]) -> None:
    older = document.get("metadata", {}).get("files", {})
    lock.choices = frozenset(document.get("extras", ()))
    for package in document.get("package", []):
        kind = package.get("source", {}).get("type", "legacy")
        if kind != "legacy":
            lock.skip(package["name"])
            continue
        files = package.get("files") or older.get(package["name"], [])
        lock.add(
            package["name"],
            package["version"],
            filenames=[each["file"] for each in files],
            hashes=[each.get("hash", "") for each in files],
            marker=_poetry_marker(package.get("markers")),
        )


def _poetry_marker(markers: Any) -> str | None:
    """The marker of a package. None, if poetry wrote one marker for each group: then the package is wanted in any environment."""
    return markers if isinstance(markers, str) else None


def _pipfile(lock: _Lock, document: Mapping[str, Any]) -> None:
    for group, packages in document.items():  # `default`, `develop`, and others of the user
        for name, package in packages.items() if group != "_meta" else ():
            version = package.get("version", "")
            if not version.startswith("=="):
                lock.skip(name)
                continue
            lock.add(name, version[2:], hashes=package.get("hashes", ()), marker=package.get("markers"))


def _sha256(text: str) -> str:
    algorithm, _, digest = text.partition(":")
    return digest.lower() if algorithm == "sha256" else ""


def _filename(url: str) -> str:
    return unquote(urlsplit(url).path).rpartition("/")[2]
