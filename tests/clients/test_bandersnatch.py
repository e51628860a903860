"""A real bandersnatch mirrors the default index; a real `pip search` is told what to use."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from pkgindex_core.testing.wheels import BuiltFile, build_sdist, build_wheel
from tests.clients.conftest import Installers, ServerProcess
from tests.clients.running import Ran, executable, run

pytestmark = [pytest.mark.clients, pytest.mark.timeout(300)]

BANDERSNATCH = "bandersnatch==8.2.0"


@pytest.fixture(scope="session")
def bandersnatch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The command, from the registry. It needs a newer Python than this project does."""
    place = tmp_path_factory.mktemp("bandersnatch") / "environment"
    python = _python_312()
    if python is None:
        pytest.skip("bandersnatch 8.2 needs Python 3.12, and none was found here")
    subprocess.run([executable("uv"), "venv", "--quiet", "--python", python, place], check=True)
    subprocess.run([executable("uv"), "pip", "install", "--quiet", "--python", place, BANDERSNATCH], check=True)
    return place / "bin" / "bandersnatch"


def _python_312() -> str | None:
    """A Python of at least 3.12: this one, one on the path, or one that pyenv has."""
    pyenv = Path(os.environ.get("PYENV_ROOT", "~/.pyenv")).expanduser() / "versions"
    on_path = [shutil.which(f"python3.{minor}") for minor in (12, 13, 14)]
    for candidate in (sys.executable, *on_path, *sorted(map(str, pyenv.glob("3.*/bin/python")))):
        check = "import sys; sys.exit(sys.version_info < (3, 12))"
        if candidate and subprocess.run([candidate, "-c", check], capture_output=True, check=False).returncode == 0:
            return candidate
    return None


async def upload(server: ServerProcess, base: Path, *files: BuiltFile) -> None:
    paths = []
    for built in files:
        path = base / built.filename
        path.write_bytes(built.data)
        paths.append(path)
    ran = await run(
        executable("twine"), "upload", "--non-interactive", "--disable-progress-bar",
        "--repository-url", f"{server.url}/legacy/", "-u", "root", "-p", server.password, *paths,
    )  # fmt: skip
    assert ran.status == 0, ran.output


async def mirror(bandersnatch: Path, server: ServerProcess, place: Path) -> Ran:
    place.mkdir(exist_ok=True)
    configuration = place / "bandersnatch.conf"
    configuration.write_text(
        f"[mirror]\ndirectory = {place / 'tree'}\nmaster = {server.url}\nallow-non-https = true\njson = true\n"
        "timeout = 20\nworkers = 2\nhash-index = false\nstorage-backend = filesystem\n"
        "[plugins]\nenabled = allowlist_project\n[allowlist]\npackages =\n    alpha\n    beta\n    six\n"
    )
    return await run(bandersnatch, "-c", configuration, "mirror")


async def test_bandersnatch_mirrors_the_default_index_and_then_what_is_new(
    bandersnatch: Path, server: ServerProcess, installers: Installers, tmp_path: Path
) -> None:
    """Hosted projects and mirrored ones, with their files and metadata; pip installs from the tree that it wrote."""
    alpha, sdist, beta = build_wheel("alpha", "1.0"), build_sdist("alpha", "1.0"), build_wheel("beta", "1.0")
    await upload(server, tmp_path, alpha, sdist)
    place = tmp_path / "mirror"
    ran = await mirror(bandersnatch, server, place)
    web = place / "tree" / "web"
    digits = alpha.sha256
    kept = web / "packages" / digits[:2] / digits[2:4] / digits[4:] / alpha.filename
    assert kept.read_bytes() == alpha.data, ran.output
    assert kept.with_name(f"{alpha.filename}.metadata").read_bytes() == alpha.metadata
    assert sorted(path.name for path in (web / "simple").iterdir() if path.is_dir()) == ["alpha", "six"]

    await upload(server, tmp_path, beta, build_wheel("alpha", "2.0"))
    ran = await mirror(bandersnatch, server, place)
    assert "2 packages to sync" in ran.output
    assert sorted(path.name for path in (web / "simple").iterdir() if path.is_dir()) == ["alpha", "beta", "six"]
    ran = await mirror(bandersnatch, server, place)
    assert "0 packages had changes" in ran.output

    static = await asyncio.create_subprocess_exec(
        sys.executable, "-u", "-m", "http.server", "0", "--bind", "127.0.0.1", "--directory", web,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    try:
        assert static.stdout is not None
        port = (await static.stdout.readline()).split(b"port ")[1].split()[0].decode()
        ran, found = await installers.install("pip", f"http://127.0.0.1:{port}/simple/", "alpha", "beta", "six")
        assert found == ["alpha-2.0", "beta-1.0", "six-1.17.0"], ran.output
    finally:
        static.kill()
        await static.wait()


async def test_pip_search_is_told_what_to_use(server: ServerProcess, pip_environments: dict[str, Path]) -> None:
    ran = await run(pip_environments["pip"], "-m", "pip", "search", "--index", f"{server.url}/pypi", "demo")
    assert ran.status != 0
    assert "this index has no XML-RPC API" in ran.output
    assert "pip index versions NAME" in ran.output
