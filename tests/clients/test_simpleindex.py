"""simpleindex's users move in: their file with real clients, and each answer beside that of a real simpleindex."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import aiohttp
import pytest
from msgspec import Struct
from yarl import URL

from pkgindex_core.testing.wheels import build_sdist, build_wheel
from pkgindex_mirror.testing.upstream import ScriptedUpstream
from tests.clients.conftest import Installers
from tests.clients.running import executable
from tests.clients.shelves import Running

pytestmark = [pytest.mark.clients, pytest.mark.timeout(300)]

PEER = ("simpleindex==0.6.3",)
CORE = build_wheel("corp-core", "1.0", requires_dist=("demo",))
SDIST = build_sdist("corp-core", "0.9")
WEB = build_wheel("corp-web", "1.0")
STRANGER = build_wheel("stranger", "1.0")
DEMO = build_wheel("demo", "1.0")
FILE = """\
[routes."corp-{name}"]
source = "path"
to = "./corp-{name}"

[routes."pool-{name}"]
source = "path"
to = "pool"

[routes."all-{name}"]
source = "path"
to = "pool"
whole_folder = true

[routes.written]
source = "path"
to = "written.html"

[routes."team/{project}"]
source = "path"
to = "./{project}"

[routes."conda/{channel}"]
source = "http"
to = "https://conda.example/{channel}/"

[routes."v{number:int}-{rest}"]
source = "http"
to = "https://numbers.example/{number}/{rest}"

[routes."{project}"]
source = "http"
to = "UPSTREAM{project}/"
MODE
[server]
host = "127.0.0.1"
port = PORT
"""


@pytest.fixture
def home(tmp_path: Path) -> Path:
    place = tmp_path / "home"
    for folder, *built in (
        ("corp-core", CORE, SDIST, STRANGER),
        ("corp-web", WEB),
        ("pool", build_wheel("pool-a", "1.0"), build_wheel("pool-b", "1.0")),
    ):
        (place / folder).mkdir(parents=True)
        for each in built:
            (place / folder / each.filename).write_bytes(each.data)
    (place / "written.html").write_text('<a href="https://files.example/written-1.0.tar.gz">written-1.0.tar.gz</a>')
    return place


@pytest.fixture
async def upstream() -> AsyncIterator[ScriptedUpstream]:
    async with ScriptedUpstream() as running:
        running.add("demo", DEMO)
        running.add("corp-core", build_wheel("corp-core", "99.0"))
        running.add("corp-evil", build_wheel("corp-evil", "99.0"))
        yield running


@pytest.fixture
async def server(home: Path) -> AsyncIterator[Running]:
    running = Running(home, executable("pkgindex-serve"))
    yield running
    await running.stop()


@pytest.fixture(scope="session")
def simpleindex(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The command of a real simpleindex, from the package registry."""
    place = tmp_path_factory.mktemp("simpleindex") / "environment"
    subprocess.run([executable("uv"), "venv", "--quiet", "--python", sys.executable, place], check=True)
    subprocess.run([executable("uv"), "pip", "install", "--quiet", "--python", place, *PEER], check=True)
    return place / "bin" / "simpleindex"


def _file(upstream: str, mode: str = "") -> str:
    return FILE.replace("UPSTREAM", upstream).replace("MODE", mode)


@pytest.mark.parametrize("mode", ["", 'mode = "cache"\n'])
async def test_installers_get_each_project_from_where_its_route_says(
    server: Running, upstream: ScriptedUpstream, installers: Installers, mode: str
) -> None:
    """A project of a folder with a dependency from the upstream, by the URL of simpleindex and by the standard one."""
    await server.start("run --routes ~/index.toml", index=_file(upstream.url, mode))
    for client in installers.names:
        for index in (server.url, f"{server.url}/", f"{server.url}/simple/"):
            ran, found = await installers.install(client, index, "corp-core")
            assert found == ["corp_core-1.0", "demo-1.0"], ran.output
        ran, found = await installers.install(client, f"{server.url}/team/", "corp-web")
        assert found == ["corp_web-1.0"], ran.output
        ran, found = await installers.install(client, server.url, "corp-evil")
        assert found == [], ran.output
    assert not [asked.path for asked in upstream.asked if "corp" in asked.path]


async def test_another_server_of_ours_may_be_the_upstream(server: Running, home: Path, installers: Installers) -> None:
    other = Running(home, executable("pkgindex-serve"))
    (home / "wheels").mkdir()
    (home / "wheels" / DEMO.filename).write_bytes(DEMO.data)
    try:
        await other.start("run -p PORT --data ~/other ~/wheels")
        for mode in ("", 'mode = "cache"\n'):
            await server.start("run --routes ~/index.toml --data ~/data", index=_file(f"{other.url}/simple/", mode))
            for client in installers.names:
                ran, found = await installers.install(client, server.url, "demo")
                assert found == ["demo-1.0"], ran.output
            await server.stop()
    finally:
        await other.stop()


async def test_the_upstream_goes_away(server: Running, upstream: ScriptedUpstream, installers: Installers) -> None:
    """A cache serves what it has, and says 503 of the rest; a redirect is what it was."""
    await server.start("run --routes ~/index.toml", index=_file(upstream.url, 'mode = "cache"\n'))
    ran, found = await installers.install("uv", server.url, "demo")
    assert found == ["demo-1.0"], ran.output
    await upstream.stop()
    for client in installers.names:
        ran, found = await installers.install(client, server.url, "demo")
        assert found == ["demo-1.0"], ran.output
    assert await _asked(server.url, "/unknown/") == (503, "")
    await server.stop()
    await server.start("run --routes ~/index.toml", index=_file(upstream.url))
    assert await _asked(server.url, "/unknown/") == (302, f"{upstream.url}unknown/")


async def test_a_broken_file_changes_nothing(server: Running, upstream: ScriptedUpstream, home: Path) -> None:
    await server.start("run --routes ~/index.toml", index=_file(upstream.url))
    assert (await _asked(server.url, "/corp-core/"))[0] == 200
    await server.stop()
    with pytest.raises(
        AssertionError, match=r"index\.toml, line 1: the route 'corp-\{name\}' has the unknown key 'sorce'"
    ):
        await server.start("run --routes ~/index.toml", index=_file(upstream.url).replace("source", "sorce", 1))
    await server.start("run --routes ~/index.toml", index=_file(upstream.url))
    assert (await _asked(server.url, "/corp-core/"))[0] == 200


class Case(Struct, frozen=True):
    """One request, and where the answer is another than simpleindex's: which, and why."""

    path: str
    ours: tuple[int, str] | None = None
    because: str = ""


_SPELLING = "one spelling of a name, which is matched: otherwise Corp_Core passes the route of corp-core"
_OWN = "a project has its own files, and not the whole folder"
_TRAVERSAL = "no name leads out of a folder"
_NAMES = "what is no name of a project is not sent on"
_PERMANENT = "the slash is added with 301, relative, which is right behind a proxy too"
CASES: Sequence[Case] = (
    Case("/corp-core/"),
    Case(f"/corp-core/{CORE.filename}"),
    Case(f"/corp-core/{SDIST.filename}"),
    Case(f"/corp-core/{STRANGER.filename}", (404, ""), _OWN),
    Case("/corp-core/corp_core-7.0.tar.gz"),
    Case("/corp-core/notes.txt"),
    Case("/corp-none/"),
    Case("/corp-core", (301, "/corp-core/"), _PERMANENT),
    Case("/Corp_Core/", (301, "/corp-core/"), _SPELLING),
    Case("/pool-a/"),
    Case("/pool-a/pool_a-1.0-py3-none-any.whl"),
    Case("/pool-a/pool_b-1.0-py3-none-any.whl", (404, ""), _OWN),
    Case("/pool-none/", (404, ""), _OWN),
    Case("/all-none/"),
    Case("/all-none/pool_b-1.0-py3-none-any.whl"),
    Case("/written/"),
    Case("/written/written-1.0.tar.gz"),
    Case("/team/corp-web/"),
    Case(f"/team/corp-web/{WEB.filename}"),
    Case("/team/none/"),
    Case("/conda/main/"),
    Case("/v12-x/"),
    Case("/vx-x/"),
    Case("/requests/"),
    Case("/requests/requests-1.0.tar.gz"),
    Case("/Requests/", (301, "/requests/"), _SPELLING),
    Case("/a/b/c/"),
    Case("/", (200, ""), "a page with the lines to paste"),
    Case("/simple/", (200, ""), "the list of projects, as in every index"),
    Case("/simple/corp-core/", (200, ""), "the standard URL of an index works too"),
    Case("/%2e%2e/", (404, ""), _TRAVERSAL),
    Case("/team/%2e%2e/", (404, ""), _TRAVERSAL),
    Case("/corp-core/..%2findex.toml"),
    Case("/corp-..%2f..%2fetc/"),
    Case("/a%20b/", (404, ""), _NAMES),
    Case("/%7Bproject%7D/", (404, ""), _NAMES),
)


async def _asked(url: str, path: str) -> tuple[int, str]:
    """The status, and the way that a redirect leads; below the server only the path."""
    target = URL(f"{url}{path}", encoded=True)
    async with aiohttp.ClientSession() as client, client.get(target, allow_redirects=False) as answer:
        location = answer.headers.get("Location")
        if not location:
            return answer.status, ""
        joined = target.join(URL(location))
        return answer.status, joined.path if joined.origin() == target.origin() else str(joined)


async def test_each_answer_is_that_of_simpleindex_or_differs_for_a_reason(
    server: Running, simpleindex: Path, home: Path
) -> None:
    peer = Running(home, simpleindex)
    text = _file("https://pypi.example/simple/")
    try:
        await peer.start("~/peer.toml", peer=text)
        await server.start("run --routes ~/ours.toml", ours=text)
        rows = [(case, await _asked(peer.url, case.path), await _asked(server.url, case.path)) for case in CASES]
    finally:
        await peer.stop()
    assert [
        f"{case.path}: theirs {theirs}, ours {ours}" for case, theirs, ours in rows if ours != (case.ours or theirs)
    ] == []
    assert [case.path for case, theirs, ours in rows if case.because and ours == theirs] == [], "no difference any more"


def _names(page: str) -> set[str]:
    return {
        part.partition("<")[0] for part in page.split(">") if part.partition("<")[0].strip()[-4:] in {".whl", "r.gz"}
    }


async def test_pages_have_the_files_of_simpleindex_that_are_of_the_project(
    server: Running, simpleindex: Path, home: Path
) -> None:
    peer = Running(home, simpleindex)
    text = _file("https://pypi.example/simple/")
    others = {"/corp-core/": {STRANGER.filename}, "/pool-a/": {"pool_b-1.0-py3-none-any.whl"}}
    try:
        await peer.start("~/peer.toml", peer=text)
        await server.start("run --routes ~/ours.toml", ours=text)
        async with aiohttp.ClientSession() as client:
            for path in ("/corp-core/", "/corp-web/", "/pool-a/", "/all-x/", "/written/", "/team/corp-web/"):
                pages = []
                for url in (peer.url, server.url):
                    async with client.get(f"{url}{path}") as answer:
                        pages.append(_names(await answer.text()))
                theirs, ours = pages
                assert theirs, path
                assert ours == theirs - others.get(path, set()), path
    finally:
        await peer.stop()
