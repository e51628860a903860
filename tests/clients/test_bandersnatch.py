"""A real bandersnatch mirrors the default index; a real `pip search` finds what there is."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from pkgindex_core.testing.wheels import BuiltFile, build_sdist, build_wheel
from tests.clients.conftest import Installers, ServerProcess
from tests.clients.running import Ran, executable, run, served_files

pytestmark = [pytest.mark.clients, pytest.mark.timeout(300)]


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

    async with served_files(web) as url:
        ran, found = await installers.install("pip", f"{url}/simple/", "alpha", "beta", "six")
        assert found == ["alpha-2.0", "beta-1.0", "six-1.17.0"], ran.output


@pytest.mark.parametrize("path", ["", "/pypi", "/root/dev/"])
async def test_pip_search_finds_what_there_is(
    server: ServerProcess, pip_environments: dict[str, Path], tmp_path: Path, path: str
) -> None:
    await upload(server, tmp_path, build_wheel("alpha_tool", "1.0"))
    ran = await run(pip_environments["pip"], "-m", "pip", "search", "--index", f"{server.url}{path}", "alpha", "tool")
    assert ran.status == 0, ran.output
    assert re.search(r"^alpha[-_]tool \(1\.0\)", ran.output, re.MULTILINE), ran.output
    ran = await run(pip_environments["pip"], "-m", "pip", "search", "--index", f"{server.url}{path}", "nothing-like-it")
    assert ran.status == 23, "pip's status for nothing found"
