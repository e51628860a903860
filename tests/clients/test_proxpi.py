"""proxpi's users move in: real installers over one and two upstreams, and each answer beside that of real proxpis."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from msgspec import Struct
from yarl import URL

from pkgindex_core.rules.negotiation import HTML_V1, JSON_V1
from pkgindex_core.testing.wheels import build_sdist, build_wheel
from pkgindex_mirror.testing import ScriptedUpstream, behaviours
from tests.clients.conftest import Installers
from tests.clients.running import clean_environment, executable

pytestmark = [pytest.mark.clients, pytest.mark.timeout(300)]

DEMO, NEWER, SDIST = build_wheel("demo", "1.0"), build_wheel("demo", "2.0"), build_sdist("demo", "1.0")
ANOTHER = build_wheel("demo", "1.0", description="another")
"""With the name of `DEMO`, and other bytes."""
OTHER = build_wheel("other", "1.0")
USING = build_wheel("using", "1.0", requires_dist=("demo", "other"))


class Running:
    """A cache in a process of its own, at a port that a restart keeps."""

    def __init__(self, home: Path, *words: str | Path, **environ: str) -> None:
        self.home = home
        self._words = tuple(map(str, words))
        self._environ = environ
        self._process: asyncio.subprocess.Process | None = None
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"

    async def start(self) -> None:
        with (self.home / "log").open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *(word.replace("PORT", str(self.port)) for word in self._words),
                env={**clean_environment(), "HOME": str(self.home), **self._environ},
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        until = time.monotonic() + 60
        while not await self._answers():
            assert time.monotonic() < until, self.log
            assert self._process.returncode is None, self.log
            await asyncio.sleep(0.05)

    async def _answers(self) -> bool:
        try:
            async with aiohttp.ClientSession() as client, client.get(f"{self.url}/health") as answer:
                return answer.status == 200
        except (OSError, aiohttp.ClientError):
            return False

    async def kill(self, number: signal.Signals = signal.SIGKILL) -> None:
        process, self._process = self._process, None
        if process is not None and process.returncode is None:
            os.killpg(process.pid, number)  # hypercorn's worker would outlive it
            await process.wait()

    @property
    def log(self) -> str:
        return (self.home / "log").read_text()


class Caches:
    """Starts caches, and ends them with the test."""

    def __init__(self, base: Path) -> None:
        self._base = base
        self._started: list[Running] = []

    async def start(self, *words: str | Path, home: str = "home", **environ: str) -> Running:
        place = self._base / home
        place.mkdir(exist_ok=True)
        if not words or str(words[0]).startswith("-"):
            words = (executable("pkgindex-mirror"), "proxy", "--port", "PORT", *words)
        running = Running(place, *words, **environ)
        self._started.append(running)
        await running.start()
        return running

    async def end(self) -> None:
        for each in self._started:
            await each.kill()


@pytest.fixture
async def caches(tmp_path: Path) -> AsyncIterator[Caches]:
    made = Caches(tmp_path)
    yield made
    await made.end()


@pytest.fixture
async def first() -> AsyncIterator[ScriptedUpstream]:
    async with ScriptedUpstream() as upstream:
        upstream.add("demo", DEMO, SDIST)
        upstream.add("using", USING)
        yield upstream


@pytest.fixture
async def second() -> AsyncIterator[ScriptedUpstream]:
    async with ScriptedUpstream(speaks="html") as upstream:
        upstream.add("demo", ANOTHER, NEWER)
        upstream.add("other", OTHER)
        yield upstream


class TestInstalling:
    @pytest.mark.parametrize("base", ["/index/", "/simple/"])
    async def test_with_proxpis_variables(
        self, caches: Caches, installers: Installers, first: ScriptedUpstream, second: ScriptedUpstream, base: str
    ) -> None:
        """The union: a project of both upstreams, and one of each."""
        cache = await caches.start(PROXPI_INDEX_URL=first.url, PROXPI_EXTRA_INDEX_URLS=second.url)
        for client in installers.names:
            ran, found = await installers.install(client, f"{cache.url}{base}", "using")
            assert found == ["demo-2.0", "other-1.0", "using-1.0"], ran.output
        assert max(upstream.count("page") for upstream in (first, second)) == 3, "pages are fetched once"

    async def test_the_first_upstream_gives_a_project(
        self, caches: Caches, installers: Installers, first: ScriptedUpstream, second: ScriptedUpstream
    ) -> None:
        cache = await caches.start("--upstream", first.url, "--upstream", second.url)
        for client in installers.names:
            ran, found = await installers.install(client, f"{cache.url}/index/", "using")
            assert found == ["demo-1.0", "other-1.0", "using-1.0"], ran.output

    async def test_while_one_upstream_has_failed_from_the_beginning(
        self, caches: Caches, installers: Installers, first: ScriptedUpstream, second: ScriptedUpstream
    ) -> None:
        await second.stop()
        cache = await caches.start(PROXPI_INDEX_URL=first.url, PROXPI_EXTRA_INDEX_URLS=second.url)
        for client in installers.names:
            ran, found = await installers.install(client, f"{cache.url}/index/", "demo")
            assert found == ["demo-1.0"], ran.output
        assert "the page of demo in root/proxy is not whole" in cache.log

    async def test_when_one_upstream_fails_in_the_middle(
        self, caches: Caches, installers: Installers, first: ScriptedUpstream, second: ScriptedUpstream
    ) -> None:
        """Between the page and the file; then for everything. What was fetched before is installed without it."""
        cache = await caches.start(
            PROXPI_INDEX_URL=first.url, PROXPI_EXTRA_INDEX_URLS=second.url, PROXPI_EXTRA_INDEX_TTLS="0"
        )
        second.script("file", behaviours.status(503), times=2)
        for client in installers.names:
            ran, found = await installers.install(client, f"{cache.url}/index/", "using")
            assert found == ["demo-2.0", "other-1.0", "using-1.0"], ran.output
        await second.stop()
        await first.stop()
        for client in installers.names:
            ran, found = await installers.install(client, f"{cache.url}/index/", "using")
            assert found == ["demo-2.0", "other-1.0", "using-1.0"], ran.output

    async def test_a_requirement_with_the_hash_that_a_lock_file_has(
        self, caches: Caches, installers: Installers, first: ScriptedUpstream, tmp_path: Path
    ) -> None:
        """URLs of proxpi out of a lock file, at a cache that has never seen the project."""
        cache = await caches.start("--upstream", first.url)
        url = f"{cache.url}/index/demo/{DEMO.filename}"
        for client in installers.names:
            ran, found = await installers.install(client, f"{cache.url}/index/", f"demo @ {url}#sha256={DEMO.sha256}")
            assert found == ["demo-1.0"], ran.output


class TestTrouble:
    async def test_kill_and_restart(
        self, caches: Caches, installers: Installers, first: ScriptedUpstream, tmp_path: Path
    ) -> None:
        cache = await caches.start("--upstream", first.url)
        for turn in range(3):
            ran, found = await installers.install("uv", f"{cache.url}/index/", "demo")
            assert found == ["demo-1.0"], ran.output
            if turn == 1:
                await asyncio.sleep(1.0)  # what was learned is stored
                await first.stop()
            await cache.kill()
            await cache.start()
        assert first.count("page") <= 2

    async def test_two_processes_with_one_directory(
        self, caches: Caches, installers: Installers, first: ScriptedUpstream, second: ScriptedUpstream
    ) -> None:
        """Started at the same moment; either serves what the other fetched."""
        words = ("--upstream", first.url, "--upstream", second.url)
        one, two = await asyncio.gather(caches.start(*words), caches.start(*words))
        rans = await asyncio.gather(
            *(installers.install("uv", f"{each.url}/index/", "using") for each in (one, two) for _ in range(3))
        )
        assert [found for _, found in rans] == [["demo-1.0", "other-1.0", "using-1.0"]] * 6
        await asyncio.sleep(1.0)
        await first.stop()
        await second.stop()
        await one.kill()
        ran, found = await installers.install("pip", f"{two.url}/index/", "using")
        assert found == ["demo-1.0", "other-1.0", "using-1.0"], ran.output

    async def test_no_password_is_written_anywhere(
        self, caches: Caches, first: ScriptedUpstream, tmp_path: Path
    ) -> None:
        """In the URL, the environment and netrc; while the upstream works, refuses, and is gone. The store alone has them."""
        secrets = {"of-the-url": "first-s3cret", "of-netrc": "second-s3cret", "of-variable": "third-s3cret"}
        (tmp_path / "home").mkdir()
        netrc = tmp_path / "home" / ".netrc"
        netrc.write_text(f"machine localhost login of-netrc password {secrets['of-netrc']}\n")
        port = first.url.split(":")[2].split("/")[0]
        cache = await caches.start(
            "--upstream", first.url.replace("://", f"://of-the-url:{secrets['of-the-url']}@"),
            "--upstream", f"http://localhost:{port}/simple/", "--upstream", f"http://127.0.0.2:{port}/simple/",
            "--log-level", "debug",
            PKGINDEX_CREDENTIALS_127_0_0_2=f"of-variable:{secrets['of-variable']}",
        )  # fmt: skip
        said = ""
        paths = ("/", "/index/", "/index/demo/", "/index/nothing/", "/root/pypi", "/root/proxy", "/+status", "/root")
        async with aiohttp.ClientSession() as client:
            for behaviour in (None, 401, 503, "gone"):
                if behaviour == "gone":
                    await first.stop()
                elif behaviour is not None:
                    for place in ("page", "names", "file"):
                        first.script(place, behaviours.status(int(behaviour)))
                for path in (*paths, f"/index/x{behaviour}/", f"/index/y{behaviour}/z-1.0.tar.gz"):
                    for accept in ("application/json", "text/html", JSON_V1):
                        async with client.get(f"{cache.url}{path}", headers={"Accept": accept}) as answer:
                            said += f"{answer.headers}{await answer.text()}"
        sent = {each.headers["Authorization"] for each in first.asked if "Authorization" in each.headers}
        assert len(sent) == 2, "127.0.0.2 leads nowhere here, and the other two were logged in"
        for secret in (*secrets, *secrets.values()):
            assert secret not in said
            assert secret not in cache.log
        for coded in sent:
            assert coded.split()[1] not in said + cache.log


PEERS = {"1.3.1": ("proxpi==1.3.1",), "1.4.0a1": ("proxpi==1.4.0a1", "hypercorn")}


@pytest.fixture(scope="session", params=sorted(PEERS))
def peer(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> tuple[str | Path, ...]:
    """The command that runs a real proxpi, from the package registry."""
    place = tmp_path_factory.mktemp("proxpi") / "environment"
    subprocess.run([executable("uv"), "venv", "--quiet", "--python", sys.executable, place], check=True)
    install = [executable("uv"), "pip", "install", "--quiet", "--prerelease=allow", "--python", place]
    subprocess.run([*install, *PEERS[request.param]], check=True)
    if request.param.startswith("1.3"):
        return (place / "bin/flask", "--app", "proxpi.server", "run", "--port", "PORT")
    return (place / "bin/hypercorn", "--bind", "127.0.0.1:PORT", "proxpi.server:app")


class Case(Struct, frozen=True):
    """One request, and how the answers may differ, for the reason."""

    path: str
    method: str = "GET"
    headers: tuple[tuple[str, str], ...] = ()
    ours: Any = None
    """The answer of pkgindex where it differs from that of proxpi: the whole summary."""
    because: str = ""


def _accept(value: str) -> tuple[tuple[str, str], ...]:
    return (("Accept", value),)


_FILE = f"/index/demo/{DEMO.filename}"
_LEADS_ON = "another spelling leads to the project's own URL, where caches and lock files find it"
_FILES = sorted(each.filename for each in (SDIST, DEMO, NEWER))
CASES = (
    Case("/"),
    Case("/health"),
    Case("/index/"),
    Case("/index/", headers=_accept(JSON_V1)),
    Case("/index/", headers=_accept("image/png")),
    Case("/index/demo/"),
    Case("/index/demo/", headers=_accept("*/*")),
    Case("/index/demo/", headers=_accept(JSON_V1)),
    Case("/index/demo/", headers=_accept("application/vnd.pypi.simple.latest+json")),
    Case("/index/demo/", headers=_accept(HTML_V1)),
    Case("/index/demo/", headers=_accept(f"{JSON_V1};q=0.5, text/html;q=0.1")),
    Case("/index/demo/", headers=_accept(f"{JSON_V1};q=0.1, text/html;q=0.5")),
    Case("/index/demo/", headers=_accept("image/png")),
    Case("/index/demo/", headers=_accept(f"{JSON_V1}, text/html"), ours=(200, "json", _FILES), because="of two formats that a client likes as much, it gets the richer one"),
    Case(f"/index/demo/?format={JSON_V1.replace('+', '%2B')}", headers=_accept("text/html")),
    Case("/index/demo/?format=text/html", headers=_accept(JSON_V1)),
    Case("/index/demo/?format=nonsense", headers=_accept(JSON_V1)),
    Case("/index/demo", ours=(301, "/index/demo/"), because="1.3 answers 308, and 1.4 that there is nothing"),
    Case("/index/demo/", "HEAD"),
    Case("/index/other/"),
    Case("/index/nothing/"),
    Case("/index/nothing/", headers=_accept(JSON_V1)),
    Case("/index/Demo/", ours=(301, "/index/demo/"), because=_LEADS_ON),
    Case(_FILE),
    Case(_FILE, "HEAD"),
    Case(_FILE, headers=(("Range", "bytes=0-9"),)),
    Case(_FILE, headers=(("Range", "bytes=-5"),)),
    Case(_FILE, headers=(("Range", "bytes=99999999-"),)),
    Case(f"{_FILE}.metadata"),
    Case(f"/index/demo/{SDIST.filename}"),
    Case(f"/index/demo/{NEWER.filename}"),
    Case("/index/demo/demo-9.0.tar.gz"),
    Case("/index/nothing/nothing-1.0.tar.gz"),
    Case("/cache/demo", "DELETE"),
    Case("/cache/nothing", "DELETE"),
    Case("/cache/list", "DELETE"),
    Case("/index/demo/", "POST"),
    Case("/cache/demo", ours=(404,), because="an installer that tries a path understands 404"),
    Case("/nothing"),
)  # fmt: skip


def _shown(answer: aiohttp.ClientResponse, body: bytes) -> Any:
    """The parts of an answer that clients use."""
    if answer.status in {301, 302, 307, 308}:
        return answer.status, answer.url.join(URL(answer.headers["Location"])).path
    kind = answer.headers.get("Content-Type", "")
    if answer.status >= 400:
        return (answer.status,)
    if answer.method == "HEAD":
        return answer.status, "head", "json" if "json" in kind else "other"
    if "simple.v1+json" in kind:
        document = json.loads(body)
        names = [each["filename"] for each in document.get("files", ())] or [
            each["name"] for each in document["projects"]
        ]
        return answer.status, "json", sorted(names)
    if "html" in kind and answer.url.path.startswith("/index/"):
        return answer.status, "html", sorted(re.findall(r">([^<>]+)</a>", body.decode()))
    if "html" in kind:
        return answer.status, "html"
    return (
        answer.status,
        "json" if kind == "application/json" else "bytes",
        json.loads(body) if kind == "application/json" else body,
    )


async def _asked(client: aiohttp.ClientSession, url: str, case: Case) -> Any:
    headers: Mapping[str, str] = dict(case.headers)
    target = URL(f"{url}{case.path}", encoded=True)
    async with client.request(case.method, target, headers=headers, allow_redirects=False) as answer:
        return _shown(answer, await answer.read())


class TestBesideProxpi:
    async def test_each_answer_is_that_of_proxpi(
        self, caches: Caches, peer: tuple[str | Path, ...], first: ScriptedUpstream, second: ScriptedUpstream
    ) -> None:
        """The same requests in the same order to both. Differences have their reason in the table."""
        variables = {
            "PROXPI_INDEX_URL": first.url,
            "PROXPI_EXTRA_INDEX_URLS": second.url,
            "PROXPI_DOWNLOAD_TIMEOUT": "30",
        }
        theirs = await caches.start(*peer, home="theirs", **variables)
        ours = await caches.start(**variables)
        differences = []
        async with aiohttp.ClientSession(headers={"Accept-Encoding": "identity"}) as client:
            for case in CASES:
                their, our = await _asked(client, theirs.url, case), await _asked(client, ours.url, case)
                if our != (their if case.ours is None else case.ours) or (case.because and our == their):
                    differences.append(f"{case.method} {case.path} {case.headers}: theirs {their}, ours {our}")
        assert differences == [], "\n".join(differences)

    async def test_what_a_failing_upstream_does_to_both(
        self, caches: Caches, peer: tuple[str | Path, ...], first: ScriptedUpstream, second: ScriptedUpstream
    ) -> None:
        """proxpi answers 500: for a page of which one index has all files, and for a file that lies on its disk."""
        variables = {
            "PROXPI_INDEX_URL": first.url,
            "PROXPI_INDEX_TTL": "0",
            "PROXPI_EXTRA_INDEX_URLS": second.url,
            "PROXPI_EXTRA_INDEX_TTLS": "0",
            "PROXPI_DOWNLOAD_TIMEOUT": "30",
        }
        theirs = await caches.start(*peer, home="theirs", **variables)
        ours = await caches.start(**variables)
        found: dict[str, list[tuple[int, int]]] = {}
        async with aiohttp.ClientSession() as client:

            async def ask(moment: str) -> None:
                for path in ("/index/demo/", _FILE):
                    statuses = []
                    for url in (theirs.url, ours.url):
                        async with client.get(f"{url}{path}") as answer:
                            statuses.append(answer.status)
                    found.setdefault(moment, []).append((statuses[0], statuses[1]))

            second.script("page", behaviours.status(503))
            second.script("names", behaviours.status(503))
            await ask("the second fails")
            second.behave()
            await asyncio.sleep(6.0)  # a probe of the host comes at least every five seconds
            await ask("both work")
            await second.stop()
            await first.stop()
            await ask("both are gone")
        assert found == {
            "the second fails": [(500, 200), (200, 200)],
            "both work": [(200, 200), (200, 200)],
            "both are gone": [(500, 200), (500, 200)],
        }
