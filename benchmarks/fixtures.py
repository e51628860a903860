"""The data that every server gets: the same wheels, the same pages, byte for byte the same every time.

    site/packages/page-10/page_10-1.0.3-py3-none-any.whl      the files of a page; tiny, but real wheels
    site/packages/file-small/…, file-large/…                  what is downloaded: about 10 kB, and 100 MB
    site/upstream/page-10.json, page-10.html                  the pages of these files in a static index
    site/manifest.json                                        names, sizes, digests; its presence says that the rest is whole

Servers of directories (pypiserver, simple-repository-server) get `packages`. Mirrors (devpi-server, proxpi, our `root/pypi`) get the static
index of `upstream.py`. Our hosted pages are put in by the back door, without their files, since a page never opens them.
"""

from __future__ import annotations

import random
import shutil
from collections.abc import Iterable
from html import escape
from pathlib import Path

import msgspec
from msgspec import Struct

from pkgindex_core.digests import sha256_of
from pkgindex_core.testing.wheels import BuiltFile, build_wheel

SIZES = (10, 200, 2_000, 10_000)
SMALL_BYTES = 10_000
LARGE_BYTES = 100_000_000
UPLOADED = "2026-01-02T03:04:05.000000Z"
REQUIRES_PYTHON = ">=3.9"
_RECIPE = 3
"""Raise it when what is made changes."""


class Entry(Struct, frozen=True, kw_only=True):
    """One file."""

    filename: str
    version: str
    sha256: str
    size: int
    metadata_sha256: str


class Manifest(Struct, frozen=True, kw_only=True):
    recipe: int
    sizes: tuple[int, ...]
    large_bytes: int
    projects: dict[str, tuple[Entry, ...]]


class Site(Struct, frozen=True, kw_only=True):
    """The data, on disk."""

    root: Path
    manifest: Manifest

    @property
    def packages(self) -> Path:
        return self.root / "packages"

    @property
    def upstream(self) -> Path:
        return self.root / "upstream"

    @property
    def sizes(self) -> tuple[int, ...]:
        return self.manifest.sizes

    def file(self, project: str) -> tuple[Entry, Path]:
        """The one file of a project of one file."""
        entry = self.manifest.projects[project][0]
        return entry, self.packages / project / entry.filename


def page_project(size: int) -> str:
    """The project whose page has that many files."""
    return f"page-{size}"


def make_site(root: Path, *, sizes: Iterable[int] = SIZES, large_bytes: int = LARGE_BYTES) -> Site:
    """The data in `root`, made when it is not there yet."""
    sizes = tuple(sizes)
    place = root / "manifest.json"
    if place.exists():
        manifest = msgspec.json.decode(place.read_bytes(), type=Manifest)
        if (manifest.recipe, manifest.sizes, manifest.large_bytes) == (_RECIPE, sizes, large_bytes):
            return Site(root=root, manifest=manifest)
        shutil.rmtree(root)
    projects = {page_project(size): _write(root, page_project(size), _page_wheels(size)) for size in sizes}
    projects["file-small"] = _write(root, "file-small", [_wheel_of("file-small", SMALL_BYTES)])
    projects["file-large"] = _write(root, "file-large", [_wheel_of("file-large", large_bytes)])
    manifest = Manifest(recipe=_RECIPE, sizes=sizes, large_bytes=large_bytes, projects=projects)
    _write_upstream(root / "upstream", projects)
    place.write_bytes(msgspec.json.format(msgspec.json.encode(manifest)))
    return Site(root=root, manifest=manifest)


def upload_wheel(project: str, number: int) -> BuiltFile:
    """A small wheel that nobody has uploaded yet: about 10 kB."""
    noise = random.Random(number).randbytes(SMALL_BYTES - 1_000)
    return build_wheel(
        project, f"1.{number}", requires_python=REQUIRES_PYTHON, files={"noise.bin": noise}, description="For uploads."
    )


def upload_form(built: BuiltFile, project: str) -> tuple[str, bytes]:
    """The content type and the body of the form that twine and uv send for a wheel."""
    boundary = "benchmark-boundary-5f2c1e"
    version = built.filename.split("-")[1]
    fields = [
        (":action", "file_upload"),
        ("protocol_version", "1"),
        ("metadata_version", "2.1"),
        ("name", project),
        ("version", version),
        ("filetype", "bdist_wheel"),
        ("pyversion", "py3"),
        ("summary", f"{project} for tests"),
        ("requires_python", REQUIRES_PYTHON),
        ("description", "For uploads."),
        ("sha256_digest", built.sha256),
    ]
    parts = [
        f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'.encode()
        for name, value in fields
    ]
    parts.append(
        f"--{boundary}\r\n"
        f'Content-Disposition: form-data; name="content"; filename="{built.filename}"\r\n'
        "Content-Type: application/octet-stream\r\n\r\n".encode()
    )
    return f"multipart/form-data; boundary={boundary}", b"".join(
        [*parts, built.data, f"\r\n--{boundary}--\r\n".encode()]
    )


def _page_wheels(size: int) -> Iterable[BuiltFile]:
    project = page_project(size)
    return (build_wheel(project, f"1.0.{number}", requires_python=REQUIRES_PYTHON) for number in range(size))


def _wheel_of(project: str, size: int) -> BuiltFile:
    """A wheel of about that many bytes, which do not compress."""
    noise = random.Random(project).randbytes(max(1, size - 1_000))
    return build_wheel(project, "1.0", requires_python=REQUIRES_PYTHON, files={"noise.bin": noise}, stored=True)


def _write(root: Path, project: str, wheels: Iterable[BuiltFile]) -> tuple[Entry, ...]:
    directory = root / "packages" / project
    directory.mkdir(parents=True)
    entries = []
    for built in wheels:
        (directory / built.filename).write_bytes(built.data)
        entries.append(
            Entry(
                filename=built.filename,
                version=built.filename.split("-")[1],
                sha256=built.sha256,
                size=built.size,
                metadata_sha256=sha256_of(built.metadata),
            )
        )
    return tuple(entries)


def _write_upstream(directory: Path, projects: dict[str, tuple[Entry, ...]]) -> None:
    directory.mkdir(parents=True)
    meta = {"api-version": "1.1"}
    names = {"meta": meta, "projects": [{"name": name} for name in projects]}
    anchors = "".join(f'<a href="{name}/">{name}</a><br/>\n' for name in projects)
    (directory / "index.json").write_bytes(msgspec.json.encode(names))
    (directory / "index.html").write_text(_html("Simple index", anchors))
    for name, entries in projects.items():
        files = [
            {
                "filename": entry.filename,
                "url": f"../../files/{name}/{entry.filename}",
                "hashes": {"sha256": entry.sha256},
                "requires-python": REQUIRES_PYTHON,
                "size": entry.size,
                "upload-time": UPLOADED,
                "core-metadata": {"sha256": entry.metadata_sha256},
                "yanked": False,
            }
            for entry in entries
        ]
        versions = [entry.version for entry in entries]
        page = {"meta": meta, "name": name, "versions": versions, "files": files}
        (directory / f"{name}.json").write_bytes(msgspec.json.encode(page))
        anchors = "".join(
            f'<a href="../../files/{name}/{entry.filename}#sha256={entry.sha256}"'
            f' data-requires-python="{escape(REQUIRES_PYTHON)}" data-core-metadata="sha256={entry.metadata_sha256}">'
            f"{entry.filename}</a><br/>\n"
            for entry in entries
        )
        (directory / f"{name}.html").write_text(_html(f"Links for {name}", anchors))


def _html(title: str, anchors: str) -> str:
    head = f'<meta name="pypi:repository-version" content="1.1"><title>{title}</title>'
    return f"<!DOCTYPE html>\n<html><head>{head}</head><body>\n{anchors}</body></html>\n"
