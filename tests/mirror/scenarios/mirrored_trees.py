"""A mirror's tree for web servers: what is in it, and whether it is what the registry has.

Two trees are equal when they have the same paths with the same bytes below `web`, and files of packages have the same times. `last-modified`, which tells
the time of a run, is left out. What a mirror keeps beside `web` is its own business.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urljoin, urlsplit

from benchmarks.made_pages import MadeFile, MadeProject
from benchmarks.made_registry import MadeRegistry

_HTML = ("index.html", "index.v1_html")
_HREF = re.compile(r'<a href="([^"#]+)#sha256=([0-9a-f]{64})"')
_PLACE = "http://mirror.example"


def content(directory: Path) -> dict[str, tuple[bytes, int]]:
    """The bytes of every file below `web` by its path, and the time of what is in `packages`; 0 for others."""
    web = directory / "web"
    return {
        path: ((web / path).read_bytes(), (web / path).stat().st_mtime_ns if path.startswith("packages/") else 0)
        for path in paths(web)
        if path != "last-modified"
    }


def paths(web: Path) -> Iterator[str]:
    """The paths of all files."""
    for path in sorted(web.rglob("*")):
        if path.is_file() or path.is_symlink():
            yield path.relative_to(web).as_posix()


def differences(found: Path, expected: Path) -> list[str]:
    """In what a tree differs from another one; empty when it does not."""
    mine, other = content(found), content(expected)
    lines = [f"more: {path}" for path in sorted(mine.keys() - other.keys())]
    lines += [f"less: {path}" for path in sorted(other.keys() - mine.keys())]
    for path in sorted(mine.keys() & other.keys()):
        if mine[path][0] != other[path][0]:
            lines.append(f"other bytes: {path}: {mine[path][0][-400:]!r} and not {other[path][0][-400:]!r}")
        elif mine[path][1] != other[path][1]:
            lines.append(f"other time: {path}: {mine[path][1]} and not {other[path][1]}")
    return lines


def problems(directory: Path) -> list[str]:
    """What is wrong with a tree by itself, whatever the registry has: pages that lead nowhere, or to other bytes than they say."""
    web = directory / "web"
    found: list[str] = []
    for page in sorted((web / "simple").glob("*/index.v1_json")):
        for file in json.loads(page.read_bytes())["files"]:
            found += _wrong_link(web, page.parent.name, file["url"], file["hashes"]["sha256"])
            if sidecar := file.get("core-metadata"):
                found += _wrong_link(web, page.parent.name, f"{file['url']}.metadata", sidecar["sha256"])
    for page in sorted((web / "simple").glob("*/*html")):
        for link, sha256 in _HREF.findall(page.read_text()):
            found += _wrong_link(web, page.parent.name, link, sha256)
    return found


def lacks(directory: Path, registry: MadeRegistry, names: Collection[str] | None = None) -> list[str]:
    """What of the registry is not there, or is there otherwise. `names`: the projects that the tree should have, otherwise all that are listed."""
    web = directory / "web"
    wanted = sorted(registry.projects.keys() - registry.unlisted if names is None else names)
    lines = problems(directory)
    shown = sorted(path.parent.name for path in (web / "simple").glob("*/index.html"))
    listed = sorted(each["name"] for each in json.loads((web / "simple/index.v1_json").read_bytes())["projects"])
    normal = sorted(name.lower().replace(".", "-") for name in listed)
    if not shown == normal == wanted:
        lines.append(f"pages of {shown}, a list of {listed}, and not {wanted}")
    for name in sorted({*shown} & {*wanted}):
        lines += _wrong_project(web, registry.projects[name])
    kept = {path for path in paths(web) if path.startswith("packages/")}
    files = {file.path[1:]: file for name in wanted for file in registry.projects[name].files}
    expected = {*files, *(f"{path}.metadata" for path, file in files.items() if file.metadata_sha256)}
    lines += [f"more: {path}" for path in sorted(kept - expected)]
    lines += [f"less: {path}" for path in sorted(expected - kept)]
    return lines


def _wrong_link(web: Path, name: str, link: str, sha256: str) -> Iterator[str]:
    place = web / urlsplit(urljoin(f"{_PLACE}/simple/{name}/", link)).path[1:]
    if not place.is_file():
        yield f"{name}: {link} is not there"
    elif hashlib.sha256(place.read_bytes()).hexdigest() != sha256:
        yield f"{name}: {link} has other bytes"


def _wrong_project(web: Path, project: MadeProject) -> Iterator[str]:
    page = json.loads((web / "simple" / project.name / "index.v1_json").read_bytes())
    found = {file["filename"]: file for file in page["files"]}
    expected = {file.filename: file for file in project.files}
    if found.keys() != expected.keys():
        yield f"{project.name}: {sorted(found)} and not {sorted(expected)}"
        return
    for form in _HTML:
        text = (web / "simple" / project.name / form).read_text()
        if text.count("<a ") != len(found) or any(f">{filename}</a>" not in text for filename in found):
            yield f"{project.name}: {form} has other files than the JSON page"
    for filename, file in expected.items():
        yield from (f"{filename}: {each}" for each in _wrong_fields(found[filename], file))


def _wrong_fields(found: dict[str, Any], file: MadeFile) -> Iterator[str]:
    if bool(found.get("yanked")) != bool(file.yanked):
        yield f"yanked {found.get('yanked')!r}"
    if (found.get("requires-python") or "") != file.requires_python:
        yield f"requires {found.get('requires-python')!r}"
    if found.get("size") != file.size:
        yield f"size {found.get('size')!r}"
    if bool(found.get("core-metadata")) != bool(file.metadata_sha256):
        yield f"core metadata {found.get('core-metadata')!r}"
