"""What tests of mirrored trees share: projects of an upstream that is only imagined, and a sync without a network."""

from __future__ import annotations

import hashlib
import json
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import unquote, urljoin, urlsplit

from msgspec import Struct

from pkgindex_core.clock import Timestamp
from pkgindex_core.digests import Sha256
from pkgindex_core.models import File, PageHead
from pkgindex_core.names import ProjectName, parse_project_name
from pkgindex_core.testing.index_cases.values import ManualClock
from pkgindex_mirror.syncing.targets import SyncTarget
from pkgindex_mirror.syncing.values import ProjectState, UpstreamProject
from pkgindex_mirror.trees.opening import opened_tree
from pkgindex_mirror.trees.options import TreeOptions
from pkgindex_mirror.trees.tree_target import MirrorTree

NOON = 1_700_000_000_000_000
HOST = "https://files.example"


class FileBytes(Struct, frozen=True, kw_only=True):
    """The bytes of a file, and of the metadata file beside it."""

    data: bytes
    metadata: bytes = b""


class Imagined(Struct, frozen=True, kw_only=True):
    """A project of an upstream, with the bytes of its files by filename."""

    project: UpstreamProject
    bytes: Mapping[str, FileBytes]


def url_of(data: bytes, filename: str) -> str:
    digest = hashlib.blake2b(data, digest_size=32).hexdigest()
    return f"{HOST}/packages/{digest[:2]}/{digest[2:4]}/{digest[4:]}/{filename}"


def imagined(
    raw: str,
    *versions: str,
    serial: int | None = 7,
    size: int = 40,
    yanked: str = "",
    status: str = "",
    document: bool = False,
    has_sidecars: bool = True,
) -> Imagined:
    """A project with a wheel and an sdist for each version."""
    name = parse_project_name(raw)
    files, contents = [], {}
    for version in versions:
        wheel = f"{name.replace('-', '_')}-{version}-py3-none-any.whl"
        for filename in (wheel, f"{name.replace('-', '_')}-{version}.tar.gz"):
            data = (f"bytes of {filename} " * size).encode()[:size]
            metadata = f"Name: {raw}\nVersion: {version}\n".encode() if filename == wheel and has_sidecars else b""
            contents[filename] = FileBytes(data=data, metadata=metadata)
            files.append(
                File(
                    filename=filename,
                    version=version,
                    digests={"sha256": hashlib.sha256(data).hexdigest()},
                    size=len(data),
                    upload_time=Timestamp(NOON + 250_000),
                    requires_python=">=3.8",
                    yanked=yanked,
                    metadata_sha256=Sha256(hashlib.sha256(metadata).hexdigest()) if metadata else None,
                    metadata_offered=filename == wheel and not metadata,
                    provenance=f"{HOST}/integrity/{filename}",
                    url=url_of(data, filename),
                )
            )
    head = PageHead(
        display_name=raw,
        versions=versions,
        status=status,
        validators={"serial": str(serial)} if serial is not None else {},
    )
    project = UpstreamProject(name=name, raw=raw, head=head, files=tuple(files))
    if document:
        project = UpstreamProject(name=name, raw=raw, head=head, files=tuple(files), document=document_of(project))
    return Imagined(project=project, bytes=contents)


def document_of(project: UpstreamProject) -> bytes:
    """Its JSON document, as an upstream writes it."""
    releases: dict[str, list[object]] = {}
    for file in project.files:
        releases.setdefault(file.version, []).append(
            {
                "filename": file.filename,
                "url": file.url,
                "digests": dict(file.digests),
                "size": file.size,
                "upload_time_iso_8601": "2023-11-14T22:13:20.250000Z",
                "requires_python": file.requires_python,
                "yanked": bool(file.yanked),
                "yanked_reason": file.yanked or None,
                "packagetype": "sdist" if file.filename.endswith(".gz") else "bdist_wheel",
            }
        )
    info = {"name": project.raw, "version": next(iter(releases), "")}
    return json.dumps({"info": info, "releases": releases, "last_serial": project.serial, "urls": []}).encode()


@asynccontextmanager
async def opened(
    place: Path | str, options: TreeOptions | None = None, *, workers: int = 3
) -> AsyncIterator[MirrorTree]:
    with ThreadPoolExecutor(workers) as pool:
        async with opened_tree(str(place), options or TreeOptions(), workers=pool, clock=ManualClock()) as tree:
            yield tree


async def bring(
    target: SyncTarget, one: Imagined, *, chosen: Sequence[str] | None = None, fetched: list[str] | None = None
) -> None:
    """What a sync does with one project: the files that are missing, then the page."""
    files = [file for file in one.project.files if chosen is None or file.filename in chosen]
    for file in await target.missing(files):
        if fetched is not None:
            fetched.append(file.filename)
        wheel = one.bytes[file.filename.removesuffix(".metadata")]
        data = wheel.metadata if file.filename.endswith(".metadata") else wheel.data
        async with target.sink(file) as sink:
            await sink.write(data[sink.offset :])
            await sink.keep()
    state = ProjectState(
        name=one.project.name, raw=one.project.raw, serial=one.project.serial, chosen_by="all", files=len(files)
    )
    await target.publish(one.project, files, state)


async def sync(
    place: Path | str, projects: Iterable[Imagined], options: TreeOptions | None = None, *, gone: Iterable[str] = ()
) -> list[str]:
    """A whole run. Returns the names of the files that were fetched."""
    fetched: list[str] = []
    async with opened(place, options) as tree, tree.turn():
        for each in projects:
            await bring(tree, each, fetched=fetched)
        for name in gone:
            await tree.remove(ProjectName(name))
        await tree.finish({"serial": "9"})
    return fetched


def contents(root: Path, *, without: Sequence[str] = (".pkgindex", ".lock")) -> dict[str, bytes]:
    """The bytes of everything in a directory, by path."""
    return {
        path: each.read_bytes()
        for each in sorted(root.rglob("*"))
        if each.is_file() and not (path := each.relative_to(root).as_posix()).startswith(tuple(without))
    }


def examine(root: Path) -> int:
    """Follow each link of each page, as an installer does. Returns the number of files."""
    count = 0
    for page in root.glob("web/simple/*/index.v1_json"):
        for file in json.loads(page.read_bytes())["files"]:
            place = Path(unquote(urlsplit(urljoin(f"file://{page}", file["url"])).path))
            assert hashlib.sha256(place.read_bytes()).hexdigest() == file["hashes"]["sha256"]
            if "core-metadata" in file:
                sidecar = place.with_name(f"{place.name}.metadata")
                assert hashlib.sha256(sidecar.read_bytes()).hexdigest() == file["core-metadata"]["sha256"]
            count += 1
    return count
