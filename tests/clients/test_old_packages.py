"""Packages of old times are uploaded with curl, twine and uv, and installed with uv, today's pip and an old one."""

from __future__ import annotations

import gzip
import io
import tarfile
from pathlib import Path

import pytest

from pkgindex_core.testing.wheels import BuiltFile, build_sdist, build_wheel, tar_gz_of, zip_of
from tests.clients.conftest import Installers, ServerProcess
from tests.clients.running import executable, run

pytestmark = [pytest.mark.clients, pytest.mark.timeout(300)]


def _members(built: BuiltFile, spelled: str) -> dict[str, bytes]:
    """The members of an sdist under a top directory of another spelling."""
    found = {}
    with tarfile.open(fileobj=io.BytesIO(gzip.decompress(built.data))) as archive:
        for info in archive:
            stream = archive.extractfile(info)
            assert stream is not None
            found[f"{spelled}/{info.name.partition('/')[2]}"] = stream.read()
    return found


@pytest.fixture
def old_files(tmp_path: Path) -> dict[str, Path]:
    """A wheel with metadata 2.0 and a wrong Requires-Python, a zip whose metadata is Latin-1, and a tarball called as its project."""
    wheel = build_wheel("acme-wheel", "1.0", metadata_version="2.0", requires_python=">=3.6.*")
    zipped = _members(build_sdist("acme-zip", "1.0", metadata_version="1.1"), "acme-zip-1.0")
    zipped["acme-zip-1.0/PKG-INFO"] += "Author: J\xfcrgen\n".encode("latin-1")
    # The backend of the tests reads UTF-8.
    backend = zipped["acme-zip-1.0/_tiny_backend.py"]
    zipped["acme-zip-1.0/_tiny_backend.py"] = backend.replace(
        b"metadata.decode()", b"metadata.decode('latin-1')"
    ).replace(
        b'metadata = (HERE / "PKG-INFO").read_bytes()',
        b'metadata = (HERE / "PKG-INFO").read_bytes().decode("latin-1").encode()',
    )
    tarball = _members(build_sdist("acme-tar", "1.0", metadata_version="1.0"), "acme-tar-1.0")
    made = {
        wheel.filename: wheel.data,
        "acme-zip-1.0.zip": zip_of(zipped),
        "acme-tar-1.0.tar.gz": tar_gz_of(tarball),
    }
    for name, data in made.items():
        (tmp_path / name).write_bytes(data)
    return {name: tmp_path / name for name in made}


async def test_old_packages_are_uploaded_and_installed(
    server: ServerProcess, installers: Installers, old_files: dict[str, Path]
) -> None:
    for name, path in old_files.items():
        ran = await run(
            "curl", "-sS", "-u", f"root:{server.password}",
            "-F", ":action=file_upload", "-F", f"content=@{path}", "-w", "%{http_code}", f"{server.url}/legacy",
        )  # fmt: skip
        assert ran.output.endswith("200"), (name, ran.output)
        assert "the form has no field name" in ran.output
    for client in installers.names:
        for project in ("acme-wheel", "acme-zip", "acme-tar"):
            ran, found = await installers.install(client, f"{server.url}/simple/", project)
            assert found == [f"{project.replace('-', '_')}-1.0"], ran.output


async def test_twine_and_uv_publish_without_the_slash_and_twine_shows_the_warning(
    server: ServerProcess, old_files: dict[str, Path]
) -> None:
    """twine follows no redirect, and uv none to a relative URL."""
    twine = await run(
        executable("twine"), "upload", "--verbose", "--non-interactive", "--repository-url", f"{server.url}/legacy",
        "-u", "root", "-p", server.password, old_files["acme-tar-1.0.tar.gz"],
        env={"COLUMNS": "500"},
    )  # fmt: skip
    assert twine.status == 0, twine.output
    assert "PEP 625 names it 'acme_tar-1.0.tar.gz'" in twine.output
    uv = await run(
        executable("uv"), "publish", "--publish-url", f"{server.url}/legacy", "-u", "root", "-p", server.password,
        old_files["acme_wheel-1.0-py3-none-any.whl"],
    )  # fmt: skip
    assert uv.status == 0, uv.output
