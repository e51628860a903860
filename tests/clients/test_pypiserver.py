"""pypiserver's users move in: the lines of their guide with real clients, and each answer beside that of a real pypiserver."""

from __future__ import annotations

import re
import subprocess
import sys
from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path

import aiohttp
import pytest
from msgspec import Struct
from yarl import URL

from pkgindex_core.testing.wheels import BuiltFile, build_sdist, build_wheel
from tests.clients.conftest import Installers
from tests.clients.running import executable, run
from tests.clients.shelves import Running, home, password_file, server, twine

__all__ = ["home", "server"]

pytestmark = [pytest.mark.clients, pytest.mark.timeout(300)]

PEER = ("pypiserver[passlib]==2.4.2", "bcrypt<4.1", "waitress==3.0.2")
DEMO = build_wheel("demo", "1.0")
ANOTHER = build_wheel("demo", "1.0", description="another")
ALICE = "alice:secret"
WRONG = "alice:wrong"


async def test_wheels_that_are_dropped_appear(server: Running, home: Path, installers: Installers) -> None:
    """The first line of the guide."""
    (home / "packages" / DEMO.filename).write_bytes(DEMO.data)
    await server.start("run --port PORT ~/packages")
    for client in installers.names:
        for index in (f"{server.url}/simple/", f"{server.url}/"):
            ran, found = await installers.install(client, index, "demo")
            assert found == ["demo-1.0"], ran.output
    newer = build_sdist("later", "1.0")
    (home / "packages" / newer.filename).write_bytes(newer.data)
    async with aiohttp.ClientSession() as client, client.get(f"{server.url}/simple/later/") as answer:
        assert newer.filename in await answer.text()
    assert "403" in (said := await twine(server, build_wheel("mine", "1.0"))) or "401" in said
    assert sorted(path.name for path in (home / "packages").iterdir()) == sorted([DEMO.filename, newer.filename])


@pytest.mark.parametrize(
    "line", ["run --port PORT -P ~/.htpasswd -a update,download ~/packages", "-p PORT -P ~/.htpasswd ~/packages"]
)
async def test_uploads_and_downloads_with_passwords(
    server: Running, home: Path, installers: Installers, line: str
) -> None:
    password_file(home)
    await server.start(line)
    assert await twine(server, DEMO) == ""
    assert (home / "packages" / DEMO.filename).read_bytes() == DEMO.data
    assert "401" in await twine(server, build_wheel("demo", "2.0"), password="wrong")
    said = await twine(server, ANOTHER)
    assert "400" in said
    assert "already exists" in said
    for client in installers.names:
        ran, found = await installers.install(client, server.as_user("alice", "secret"), "demo")
        assert found == ["demo-1.0"], ran.output
        ran, found = await installers.install(client, f"{server.url}/simple/", "--no-deps", "demo")
        assert found == ([] if "download" in line else ["demo-1.0"]), ran.output


@pytest.mark.parametrize("flag", ["-B", "-m", "-2", "-5", "-s", "-d"])
async def test_everything_with_passwords_of_every_kind(
    server: Running, home: Path, installers: Installers, flag: str
) -> None:
    password_file(home, f"{flag}c")
    await server.start("run -p PORT -P ~/.htpasswd -a update,download,list ~/packages")
    assert await twine(server, DEMO) == ""
    for client in ("uv", "pip"):
        ran, found = await installers.install(client, server.as_user("alice", "secret"), "demo")
        assert found == ["demo-1.0"], ran.output
        ran, found = await installers.install(client, f"{server.url}/simple/", "demo")
        assert found == [], ran.output


async def test_open_to_everybody(server: Running, home: Path, installers: Installers) -> None:
    await server.start("run -p PORT -a . -P . -o ~/packages")
    async with aiohttp.ClientSession() as client:
        form = aiohttp.FormData({":action": "file_upload", "protocol_version": "1"})
        form.add_field("content", DEMO.data, filename=DEMO.filename)
        async with client.post(f"{server.url}/", data=form) as answer:
            assert answer.status == 200
    assert [path.name for path in (home / "packages").iterdir()] == [DEMO.filename]
    assert await twine(server, DEMO, name="nobody", password="nothing") == ""
    for name in installers.names:
        said, found = await installers.install(name, f"{server.url}/simple/", "demo")
        assert found == ["demo-1.0"], said.output


async def test_scripts_that_remove_with_curl(server: Running, home: Path) -> None:
    password_file(home)
    (home / "packages" / DEMO.filename).write_bytes(DEMO.data)
    await server.start("run -p PORT -P ~/.htpasswd ~/packages")
    words = (
        "-sS",
        "-F",
        ":action=remove_pkg",
        "-F",
        "name=demo",
        "-F",
        "version=1.0",
        "-w",
        "%{http_code}",
        server.url,
    )
    assert (await run("curl", *words)).output.endswith("401")
    assert (await run("curl", "-u", "alice:secret", *words)).output == "200"
    assert list((home / "packages").iterdir()) == []


async def test_a_restart_keeps_everything_and_other_servers_have_other_places(server: Running, home: Path) -> None:
    (home / "other").mkdir()
    await server.start("run -p PORT ~/packages")
    await server.stop()
    await server.start("run -p PORT ~/packages")
    await server.stop()
    await server.start("run -p PORT ~/other")
    places = home / ".local/share/pkgindex/directories"
    assert sorted(path.name.rpartition("-")[0] for path in places.iterdir()) == ["other", "packages"]


class Case(Struct, frozen=True):
    """One request, and how the answers may differ: in the status, for the reason."""

    method: str
    path: str
    auth: str | None = ALICE
    fields: tuple[tuple[str, str], ...] = ()
    upload: BuiltFile | None = None
    ours: int = 0
    """Our status where it is another."""
    because: str = ""


_WRONG = "wrong credentials are asked for again; 403 is for people who may not"
_CASES = (
    Case("GET", "/", None),
    Case("GET", "/health", None),
    Case("GET", "/favicon.ico", None),
    Case("GET", "/simple"),
    Case("GET", "/simple/"),
    Case("GET", "/simple/", None),
    Case("GET", "/simple/", WRONG, ours=401, because=_WRONG),
    Case("GET", "/simple/demo"),
    Case("GET", "/simple/demo/"),
    Case("GET", "/simple/Demo/"),
    Case("GET", "/simple/demo/", None),
    Case("GET", "/simple/nothing/"),
    Case("GET", "/simple/nothing/", None),
    Case("GET", "/packages"),
    Case("GET", "/packages/"),
    Case("GET", "/packages/", None),
    Case("GET", f"/packages/{DEMO.filename}"),
    Case("HEAD", f"/packages/{DEMO.filename}"),
    Case("GET", f"/packages/{DEMO.filename}", None),
    Case("GET", f"/packages/{DEMO.filename}", WRONG, ours=401, because=_WRONG),
    Case("GET", "/packages/nothing-1.0.tar.gz"),
    Case("GET", "/packages/%2e%2e/.htpasswd"),
    Case("GET", "/packages/.htpasswd"),
    Case("GET", "/demo/json"),
    Case("GET", "/Demo/json"),
    Case("GET", "/nothing/json"),
    Case("GET", "/demo/json", None),
    Case("GET", "/demo"),
    Case("GET", "/demo/"),
    Case("GET", "/demo/", None),
    Case("POST", "/", None, ((":action", "verify"),)),
    Case("POST", "/", WRONG, ((":action", "verify"),), ours=401, because=_WRONG),
    Case("POST", "/", fields=(("name", "demo"),)),
    Case("POST", "/", fields=((":action", "explode"),)),
    Case("POST", "/", fields=((":action", "verify"),)),
    Case("POST", "/", fields=((":action", "submit"), ("name", "demo"), ("version", "1.0"))),
    Case("POST", "/", fields=((":action", "file_upload"),)),
    Case("POST", "/", fields=((":action", "remove_pkg"), ("name", "demo"))),
    Case("POST", "/", fields=((":action", "remove_pkg"), ("name", "demo"), ("version", "9"))),
    Case("POST", "/", fields=((":action", "file_upload"),), upload=ANOTHER),
    Case("POST", "/", fields=((":action", "file_upload"),), upload=DEMO, ours=200, because="the same bytes are there"),
    Case("POST", "/", fields=((":action", "file_upload"),), upload=build_wheel("demo", "2.0")),
    Case("POST", "/", fields=((":action", "remove_pkg"), ("name", "demo"), ("version", "2.0"))),
    Case("POST", "/", fields=((":action", "remove_pkg"), ("name", "other-pkg"), ("version", "1.0")), ours=200, because="names are compared normalised"),
    Case("POST", "/simple/", fields=((":action", "verify"),)),
)  # fmt: skip


@pytest.fixture(scope="session")
def peer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The command of a real pypiserver, from the package registry."""
    place = tmp_path_factory.mktemp("pypiserver") / "environment"
    subprocess.run([executable("uv"), "venv", "--quiet", "--python", sys.executable, place], check=True)
    subprocess.run([executable("uv"), "pip", "install", "--quiet", "--python", place, *PEER], check=True)
    return place / "bin" / "pypi-server"


async def _asked(url: str, case: Case) -> tuple[int, str]:
    """The status, and the way that a redirect leads, as a client would understand it."""
    data = aiohttp.FormData(case.fields, default_to_multipart=True) if case.method == "POST" else None
    if data is not None and case.upload is not None:
        data.add_field("content", case.upload.data, filename=case.upload.filename)
    headers = {"Authorization": f"Basic {b64encode(case.auth.encode()).decode()}"} if case.auth else {}
    target = URL(f"{url}{case.path}", encoded=True)
    async with (
        aiohttp.ClientSession() as client,
        client.request(case.method, target, data=data, headers=headers, allow_redirects=False) as answer,
    ):
        location = answer.headers.get("Location")
        return answer.status, target.join(URL(location)).path if location else ""


def _differences(rows: Iterator[tuple[Case, tuple[int, str], tuple[int, str]]]) -> list[str]:
    return [
        f"{case.method} {case.path} {dict(case.fields).get(':action', '')}: theirs {theirs}, ours {ours}"
        for case, theirs, ours in rows
        if ours != ((case.ours, "") if case.because else theirs)
    ]


async def test_each_answer_is_that_of_pypiserver(server: Running, peer: Path, tmp_path: Path) -> None:
    """The same requests in the same order to both, each over a directory of its own. Differences have their reason in the table."""
    theirs_home = tmp_path / "theirs"
    for place in (server.home, theirs_home):
        (place / "packages").mkdir(parents=True, exist_ok=True)
        for built in (DEMO, build_wheel("other-pkg", "1.0")):
            (place / "packages" / built.filename).write_bytes(built.data)
        password_file(place)
    theirs = Running(theirs_home, peer)
    line = "run -p PORT -i 127.0.0.1 -P ~/.htpasswd -a update,download,list --disable-fallback ~/packages"
    try:
        await theirs.start(line)
        await server.start(line)
        rows = [(case, await _asked(theirs.url, case), await _asked(server.url, case)) for case in _CASES]
    finally:
        await theirs.stop()
    assert _differences(iter(rows)) == []
    assert all(theirs_said[0] != case.ours for case, theirs_said, _ in rows if case.because), (
        "a difference that is none"
    )
    assert not re.search(r"Traceback", server.log)
