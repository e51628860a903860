"""`pkgindex-mirror mirror` with an upstream of our own making: `pkgindex-serve`, and a tree behind web servers for files."""

from __future__ import annotations

import asyncio
import json
import re
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from pkgindex_core.testing.wheels import BuiltFile, build_sdist, build_wheel
from pkgindex_mirror import trees
from pkgindex_mirror.testing.upstream import ScriptedUpstream
from tests.clients.conftest import Installers, ServerProcess
from tests.clients.running import Ran, executable, run, served_files
from tests.directory import free_port
from tests.proxy import nginx

pytestmark = [pytest.mark.clients, pytest.mark.timeout(300)]


class Mirror:
    """A mirror in a tree."""

    def __init__(self, place: Path, master: str, *, more: str = "", only: tuple[str, ...] = ()) -> None:
        self.place = place
        self.web = place / "tree" / "web"
        self._configuration = place / "mirror.conf"
        place.mkdir()
        chosen = "".join(f"    {name}\n" for name in only)
        filters = f"[plugins]\nenabled = allowlist_project\n[allowlist]\npackages =\n{chosen}" if only else ""
        self._configuration.write_text(
            f"[mirror]\ndirectory = {place / 'tree'}\nmaster = {master}\nallow-non-https = true\n{more}\n{filters}"
        )

    async def run(self, *words: str) -> dict[str, Any]:
        """Bring it up to date; return the report."""
        ran = await self.command("mirror", "--report", str(self.place / "report.json"), *words)
        assert ran.status == 0, ran.output
        report: dict[str, Any] = json.loads((self.place / "report.json").read_bytes())
        return report

    async def command(self, word: str, *words: str) -> Ran:
        return await run(sys.executable, "-m", "pkgindex_mirror", word, "-c", self._configuration, *words)

    def page(self, name: str) -> dict[str, Any]:
        page: dict[str, Any] = json.loads((self.web / "simple" / name / "index.v1_json").read_bytes())
        return page

    def files(self, name: str) -> dict[str, dict[str, Any]]:
        return {file["filename"]: file for file in self.page(name)["files"]}


async def upload(server: ServerProcess, base: Path, *files: BuiltFile) -> None:
    for built in files:
        (base / built.filename).write_bytes(built.data)
    ran = await run(
        executable("twine"), "upload", "--non-interactive", "--disable-progress-bar",
        "--repository-url", f"{server.url}/legacy/", "-u", "root", "-p", server.password,
        *(base / built.filename for built in files),
    )  # fmt: skip
    assert ran.status == 0, ran.output


def asked(log: str) -> list[str]:
    """The paths that runs of the mirror asked a server for, by its log."""
    lines = (json.loads(line) for line in log.splitlines() if line.startswith("{"))
    return [line["path"] for line in lines if line.get("agent", "").startswith("pkgindex-mirror/")]


@pytest.mark.parametrize("json_documents", ["true", "false"])
async def test_a_server_is_mirrored_and_followed(
    server: ServerProcess, installers: Installers, tmp_path: Path, json_documents: str
) -> None:
    uploads = tmp_path / "uploads"
    uploads.mkdir()
    alpha, sdist = build_wheel("alpha", "1.0", requires_dist=["beta"]), build_sdist("alpha", "1.0")
    await upload(server, uploads, alpha, sdist, build_wheel("beta", "1.0"), build_wheel("gamma", "1.0"))
    names = ("alpha", "beta", "gamma", "six")
    mirror = Mirror(tmp_path / "mirror", server.url, more=f"json = {json_documents}\nremoved = delete", only=names)

    report = await mirror.run()
    assert (report["has_serials"], report["published"], report["remarks"]["projects"]) == (True, 4, 0)
    assert (mirror.web / "pypi/alpha/json").exists() == (json_documents == "true")
    assert mirror.files("alpha")[alpha.filename]["core-metadata"]
    async with served_files(mirror.web) as url:
        ran, found = await installers.install("uv", f"{url}/simple/", "alpha", "six")
        assert found == ["alpha-1.0", "beta-1.0", "six-1.17.0"], ran.output

    before = len(asked(server.log))
    report = await mirror.run()
    assert (report["list_unchanged"], report["files_fetched"]) == (True, 0)
    assert asked(server.log)[before:] == ["/simple/"]

    async def change(*words: str) -> None:
        ran = await run(executable("pkgindex-serve"), *words, "--data", server.data)
        assert ran.status == 0, ran.output

    await upload(server, uploads, build_wheel("alpha", "2.0"))
    await change("yank", "--reason", "it is broken", alpha.filename)
    await change("delete", "--force", sdist.filename)
    await change("project", "delete", "--force", "gamma")
    await change("mark", "beta", "archived")
    before = len(asked(server.log))
    report = await mirror.run()
    assert (report["changed"], report["removed"]["names"]) == (2, ["gamma"])
    files = mirror.files("alpha")
    assert {name: file.get("yanked", False) for name, file in files.items()} == {
        alpha.filename: "it is broken",
        "alpha-2.0-py3-none-any.whl": False,
    }
    assert mirror.page("beta")["project-status"]["status"] == "archived"
    assert not [path for path in mirror.web.rglob("*") if path.name in {sdist.filename, "gamma"}]
    assert not [path for path in asked(server.log)[before:] if "/simple/six/" in path or path.endswith(alpha.filename)]

    report = await mirror.run()
    assert report["list_unchanged"]


async def test_a_quarantine_is_followed(server: ServerProcess, tmp_path: Path) -> None:
    await upload(server, tmp_path, build_wheel("alpha", "1.0"), build_wheel("beta", "1.0"))
    mirror = Mirror(tmp_path / "mirror", server.url, only=("alpha", "beta"))
    await mirror.run()
    for status, is_shown in (("quarantined", False), ("active", True)):
        ran = await run(executable("pkgindex-serve"), "mark", "alpha", status, "--data", server.data)
        assert ran.status == 0, ran.output
        await mirror.run()
        assert (mirror.web / "simple/alpha/index.html").exists() == is_shown
    assert (await mirror.run())["list_unchanged"]


@asynccontextmanager
async def behind_nginx(web: Path, place: Path) -> AsyncIterator[str]:
    """A tree behind nginx with the configuration of the documentation."""
    text = (Path(trees.__file__).parent / "README.md").read_text()
    (configuration,) = re.findall(r"```nginx\n(.*?)```", text, re.DOTALL)
    port = free_port()
    configuration = configuration.replace("listen 8080", f"listen 127.0.0.1:{port}").replace("/srv/pypi/web", f"{web}")
    place.mkdir()
    async with nginx(place, configuration, port):
        yield f"http://127.0.0.1:{port}"


@pytest.mark.parametrize("serving", ["http.server", "nginx"])
async def test_a_tree_of_ours_is_mirrored_and_followed(
    upstream: ScriptedUpstream, installers: Installers, tmp_path: Path, serving: str
) -> None:
    alpha, old = build_wheel("alpha", "1.0", requires_dist=["beta-two"]), build_wheel("alpha", "0.9")
    upstream.projects.clear()
    for number, (name, *files) in enumerate(
        (("alpha", alpha, old), ("beta-two", build_wheel("beta_two", "1.0")), ("gamma", build_wheel("gamma", "1.0")))
    ):
        upstream.add(name, *files)
        upstream.serials[name] = 10 + number
    more = "removed = delete\nshrink_limit = 100"
    near = Mirror(tmp_path / "near", upstream.root.rstrip("/"), more=more)
    await near.run()
    serving_tree = served_files(near.web) if serving == "http.server" else behind_nginx(near.web, tmp_path / "nginx")
    async with serving_tree as url:
        far = Mirror(tmp_path / "far", url, more=more)

        def same() -> bool:
            pages = [path.relative_to(near.web) for path in near.web.glob("simple/*/index.v1_json")]
            assert {path.relative_to(far.web) for path in far.web.glob("simple/*/index.v1_json")} == {*pages}
            return all((near.web / path).read_bytes() == (far.web / path).read_bytes() for path in pages)

        report = await far.run()
        assert (report["has_serials"], report["published"], report["files_fetched"]) == (serving == "nginx", 3, 8)
        report = await far.run()
        assert report["files_fetched"] == 0
        assert (report["list_unchanged"], report["current"]) == ((True, 0) if serving == "nginx" else (False, 3))
        if serving == "nginx":
            assert same()

        await asyncio.sleep(1)  # http.server tells times in whole seconds
        upstream.add("alpha", build_wheel("alpha", "2.0"))
        upstream.projects["alpha"][1].says["yanked"] = "too old"
        upstream.serials["alpha"] = 20
        del upstream.projects["gamma"], upstream.serials["gamma"]
        await near.run()
        report = await far.run()
        assert (report["published"], report["files_fetched"], report["removed"]["names"]) == (1, 2, ["gamma"])
        if serving == "nginx":
            assert same()
        assert far.files("alpha")[old.filename]["yanked"] == "too old"
        assert not [*far.web.rglob("gamma*")]
    async with served_files(far.web) as url:
        for client in ("uv", "pip"):
            ran, found = await installers.install(client, f"{url}/simple/", "alpha<2")
            assert found == ["alpha-1.0", "beta_two-1.0"], ran.output
