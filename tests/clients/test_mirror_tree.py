"""A mirror's tree behind Python's own web server for files, as guides to mirrors show it: pip and uv install from it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from pkgindex_core.clock import Timestamp
from pkgindex_core.digests import sha256_of
from pkgindex_core.models import File, PageHead
from pkgindex_core.names import parse_project_name
from pkgindex_core.testing.wheels import BuiltFile, build_sdist, build_wheel
from pkgindex_mirror.syncing.values import UpstreamProject
from pkgindex_mirror.trees.options import TreeOptions
from tests.clients.conftest import Installers
from tests.mirror.mirror_trees.mirrors import NOON, FileBytes, Imagined, sync, url_of

pytestmark = [pytest.mark.clients, pytest.mark.timeout(240)]


class Quiet(SimpleHTTPRequestHandler):
    asked: list[str] = []  # noqa: RUF012 - one list for the requests of all connections

    def log_message(self, *_: object) -> None:
        self.asked.append(self.path)


@contextmanager
def served(directory: Path) -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(directory))) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


def project(raw: str, *built: tuple[str, BuiltFile], yanked: str = "") -> Imagined:
    """A project of real files, of which the first is yanked if `yanked` is a reason."""
    files = tuple(
        File(
            filename=each.filename,
            version=version,
            digests={"sha256": each.sha256},
            size=len(each.data),
            upload_time=Timestamp(NOON),
            yanked=yanked if number == 0 else False,
            metadata_sha256=sha256_of(each.metadata) if each.filename.endswith(".whl") else None,
            url=url_of(each.data, each.filename),
        )
        for number, (version, each) in enumerate(built)
    )
    head = PageHead(display_name=raw, versions=tuple(version for version, _ in built), validators={"serial": "7"})
    return Imagined(
        project=UpstreamProject(name=parse_project_name(raw), raw=raw, head=head, files=files),
        bytes={each.filename: FileBytes(data=each.data, metadata=each.metadata) for _, each in built},
    )


@pytest.mark.parametrize("options", [TreeOptions(), TreeOptions(keep_index_versions=2)], ids=["plain", "versions"])
async def test_pip_and_uv_install_from_a_mirror(installers: Installers, tmp_path: Path, options: TreeOptions) -> None:
    demo = project(
        "demo",
        ("2.0", build_wheel("demo", "2.0")),
        ("1.0", build_wheel("demo", "1.0", requires_dist=["helper"])),
        ("1.0", build_sdist("demo", "1.0")),
        yanked="it breaks",
    )
    await sync(tmp_path, [demo, project("helper", ("1.0+local", build_wheel("helper", "1.0+local")))], options)
    with served(tmp_path / "web") as url:
        for client in installers.names:
            Quiet.asked.clear()
            ran, found = await installers.install(client, f"{url}/simple/", "demo")
            assert ran.status == 0, ran.output
            assert found == ["demo-1.0", "helper-1.0+local"], ran.output
            if client == "uv":
                assert any(path.endswith(".whl.metadata") for path in Quiet.asked)
