"""A directory that is served as pypiserver does, in daily use: read through, published to, below a prefix, changing all the time, with two servers."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest

from pkgindex_core.testing.wheels import BuiltFile, build_sdist, build_wheel
from pkgindex_mirror.testing.upstream import ScriptedUpstream
from tests.clients.conftest import Installers
from tests.clients.running import Ran, executable, run
from tests.clients.shelves import Running, home, password_file, server, twine
from tests.directory import free_port
from tests.http.conftest import basic
from tests.proxy import nginx

__all__ = ["home", "server"]

pytestmark = [pytest.mark.clients, pytest.mark.timeout(600)]

ALICE = basic("alice", "secret")
OURS = build_wheel("acme-demo", "1.0")
THEIRS = build_wheel("acme-demo", "99.0")


async def uv_publish(server: Running, *built: BuiltFile, url: str = "", password: str = "secret") -> Ran:
    place = server.home / "uv-dist"
    place.mkdir(exist_ok=True)
    for each in built:
        (place / each.filename).write_bytes(each.data)
    return await run(
        executable("uv"), "publish", "--no-cache", "--publish-url", url or f"{server.url}/",
        "-u", "alice", "-p", password, *(place / each.filename for each in built), env={"HOME": str(server.home)},
    )  # fmt: skip


async def page(url: str, project: str) -> tuple[int, str]:
    async with (
        aiohttp.ClientSession() as client,
        client.get(f"{url}/simple/{project}/", allow_redirects=False) as answer,
    ):
        return answer.status, await answer.text()


async def test_what_is_not_here_is_read_through_and_our_names_stay_ours(
    server: Running, home: Path, upstream: ScriptedUpstream, installers: Installers
) -> None:
    part = build_wheel("acme-part", "1.0")
    for stranger in (THEIRS, build_wheel("acme-part", "99.0")):
        upstream.add(stranger.filename.split("-")[0].replace("_", "-"), stranger)
    (home / "packages" / OURS.filename).write_bytes(OURS.data)
    (home / "packages" / part.filename).write_bytes(part.data[: len(part.data) // 2])  # scp in progress
    await server.start(f"run -p PORT --proxy-fallback --fallback-url {upstream.url} ~/packages")
    url = f"{server.url}/simple/"
    for client in installers.names:
        ran, found = await installers.install(client, url, "acme-demo", "six")
        assert found == ["acme_demo-1.0", "six-1.17.0"], ran.output
        ran, found = await installers.install(client, url, "acme-part")
        assert (ran.status != 0, found) == (True, []), ran.output
        assert "acme-part" in ran.output
    (home / "packages" / part.filename).write_bytes(part.data)
    asked = upstream.count("/simple/six/")
    await upstream.stop()
    for client in installers.names:
        ran, found = await installers.install(client, url, "acme-demo", "acme-part", "six")
        assert found == ["acme_demo-1.0", "acme_part-1.0", "six-1.17.0"], ran.output
    assert asked == 1, "six was asked for once"
    assert upstream.count("/simple/acme-demo/") == upstream.count("/simple/acme-part/") == 0, "nobody learns our names"
    assert "Traceback" not in server.log


async def test_a_redirect_is_followed_for_what_is_not_here_alone(
    server: Running, home: Path, upstream: ScriptedUpstream, installers: Installers
) -> None:
    upstream.add("acme-demo", THEIRS)
    (home / "packages" / OURS.filename).write_bytes(OURS.data[:100])
    await server.start(f"run -p PORT --fallback-url {upstream.url} ~/packages")
    for client in installers.names:
        ran, found = await installers.install(client, f"{server.url}/simple/", "six")
        assert found == ["six-1.17.0"], ran.output
        ran, found = await installers.install(client, f"{server.url}/simple/", "acme-demo")
        assert (ran.status != 0, found) == (True, []), ran.output
    assert upstream.count("/simple/acme-demo/") == 0


async def test_uv_publishes_to_the_root(server: Running, home: Path, installers: Installers) -> None:
    password_file(home)
    await server.start("run -p PORT -P ~/.htpasswd ~/packages")
    sdist = build_sdist("acme-demo", "1.0")
    for _ in range(2):  # a repetition is a success too
        ran = await uv_publish(server, OURS, sdist)
        assert ran.status == 0, ran.output
    assert sorted(path.name for path in (home / "packages").iterdir()) == sorted([OURS.filename, sdist.filename])
    ran = await uv_publish(server, build_wheel("acme-demo", "1.0", description="another"))
    assert ran.status != 0
    assert "already exists" in ran.output
    ran = await uv_publish(server, build_wheel("acme-demo", "2.0"), password="wrong")
    assert ran.status != 0
    assert "401" in ran.output
    assert len(list((home / "packages").iterdir())) == 2
    ran, found = await installers.install("uv", f"{server.url}/simple/", "acme-demo")
    assert found == ["acme_demo-1.0"], ran.output


PREFIXED = {
    "kept by nginx": ("--server-base-url /team/pypi", "proxy_pass http://127.0.0.1:{port};"),
    "removed by nginx": ("--outside-url http://127.0.0.1:{outside}/team/pypi", "proxy_pass http://127.0.0.1:{port}/;"),
}


@asynccontextmanager
async def below_a_prefix(server: Running, how: str, more: str) -> AsyncIterator[str]:
    """The server behind an nginx; the URL of its root, without a slash at the end."""
    option, passed = PREFIXED[how]
    outside = free_port()
    await server.start(f"run -p PORT {option.format(outside=outside)} {more}")
    location = f"location /team/pypi/ {{ {passed.format(port=server.url.rpartition(':')[2])} proxy_set_header Host $http_host; }}"
    place = server.home / "nginx"
    place.mkdir()
    async with nginx(place, f"server {{ listen 127.0.0.1:{outside}; client_max_body_size 0; {location} }}", outside):
        yield f"http://127.0.0.1:{outside}/team/pypi"


@pytest.mark.parametrize("how", PREFIXED)
async def test_everything_below_a_prefix(
    server: Running, home: Path, upstream: ScriptedUpstream, installers: Installers, how: str
) -> None:
    password_file(home)
    for path in (home, home.parent):
        path.chmod(0o755)  # nginx has less rights than the tests
    line = f"-P ~/.htpasswd -a update,download,list --fallback-url {upstream.url} ~/packages"
    async with below_a_prefix(server, how, line) as url:
        secret = url.replace("://", "://alice:secret@")
        inner, server.url = server.url, url  # where clients see it
        assert await twine(server, OURS) == ""
        ran = await uv_publish(server, build_wheel("Acme.Part", "1.0"))
        assert ran.status == 0, ran.output
        for client in installers.names:
            for index in (f"{secret}/simple/", f"{secret}/", f"{secret}/root/packages/+simple/"):
                ran, found = await installers.install(client, index, "Acme.Demo", "acme_part")
                assert found == ["acme_demo-1.0", "acme_part-1.0"], ran.output
            ran, found = await installers.install(client, f"{url}/simple/", "acme-demo")
            assert found == [], ran.output
        ran, found = await installers.install("uv", f"{secret}/simple/", "six")
        assert found == ["six-1.17.0"], ran.output
        async with aiohttp.ClientSession(headers=ALICE) as client:
            for path in (
                "",
                "simple",
                "simple/Acme.Demo/",
                "packages",
                "Acme.Demo/json",
                "acme-demo",
                f"packages/{OURS.filename}",
            ):
                async with client.get(f"{url}/{path}") as answer:
                    assert answer.status == 200, path
                    assert str(answer.url).startswith(url), "a redirect leads out of the prefix"
            async with client.get(f"{url}/packages/") as answer:
                assert inner not in await answer.text()
        removal = ("-F", ":action=remove_pkg", "-F", "name=acme-demo", "-F", "version=1.0", "-w", "%{http_code}")
        assert (await run("curl", "-sS", "-u", "alice:secret", *removal, f"{url}/")).output == "200"
        assert [path.name.lower() for path in (home / "packages").iterdir()] == ["acme_part-1.0-py3-none-any.whl"]


def _edition(number: int) -> BuiltFile:
    """Version 2.0 with other bytes each time."""
    return build_wheel("acme-demo", "2.0", files={"acme_demo/edition.py": f"NUMBER = {number}\n".encode() * 1000})


@pytest.mark.parametrize("where", ["", "below"])
async def test_files_come_and_go_while_clients_install(
    server: Running, home: Path, installers: Installers, where: str
) -> None:
    """A client may find that its file has gone, or has other bytes; it never installs half of one, or one for another."""
    place = home / "packages" / where
    place.mkdir(exist_ok=True)
    (home / "packages" / OURS.filename).write_bytes(OURS.data)
    await server.start("run -p PORT ~/packages")
    url = f"{server.url}/simple/"
    turns, done = itertools.count(), asyncio.Event()

    async def change() -> None:
        while not done.is_set():
            built = _edition(next(turns))
            target = place / built.filename
            target.write_bytes(built.data[: len(built.data) // 3])
            await asyncio.sleep(0.03)
            target.write_bytes(built.data)
            await asyncio.sleep(0.15)
            other = _edition(next(turns))
            draft = place / f".{other.filename}"
            draft.write_bytes(other.data)
            draft.replace(target)
            await asyncio.sleep(0.15)
            target.unlink()
            await asyncio.sleep(0.03)

    changing = asyncio.create_task(change())
    try:
        rounds = [
            installers.install(client, url, "acme-demo") for client in (*installers.names, "uv", "uv", "uv", "uv", "uv")
        ]
        outcomes = await asyncio.gather(*rounds)
        pinned = [installers.install(client, url, "acme-demo==1.0") for client in installers.names]
        steady = await asyncio.gather(*pinned)
    finally:
        done.set()
        await changing
    for ran, found in outcomes:
        assert found in (["acme_demo-1.0"], ["acme_demo-2.0"], []), ran.output
        assert found or any(said in ran.output for said in ("404", "410", "503")), ran.output
        assert "hash mismatch" not in ran.output.lower()
        assert "BadZipFile" not in ran.output
    assert [found for _, found in steady] == [["acme_demo-1.0"]] * len(steady), (
        "another file changes nothing for this one"
    )
    last = _edition(next(turns))
    (place / last.filename).write_bytes(last.data)
    pinned_file = home / "pinned.txt"
    pinned_file.write_text(f"acme-demo==2.0 --hash=sha256:{last.sha256}\n")
    for client in installers.names:
        ran, found = await installers.install(client, url, "--require-hashes", "-r", pinned_file)
        assert found == ["acme_demo-2.0"], ran.output
    assert "Traceback" not in server.log


@pytest.fixture
async def beside(home: Path) -> AsyncIterator[Running]:
    """A second server of the same home."""
    running = Running(home, executable("pkgindex-serve"))
    yield running
    await running.stop()


@pytest.mark.parametrize("data", [("", "--data ~/other"), ("--data ~/one", "--data ~/one")], ids=["apart", "together"])
async def test_two_servers_on_one_directory(
    server: Running, beside: Running, home: Path, installers: Installers, data: tuple[str, str]
) -> None:
    """Each with data of its own, or both over the same."""
    password_file(home)
    (home / "packages" / OURS.filename).write_bytes(OURS.data)
    for running, place in ((server, data[0]), (beside, data[1])):
        await running.start(f"run -p PORT -P ~/.htpasswd {place} ~/packages")
    both = (server, beside)
    for client in installers.names:
        for running in both:
            ran, found = await installers.install(client, f"{running.url}/simple/", "acme-demo")
            assert found == ["acme_demo-1.0"], ran.output
    # What one takes the other has at once.
    for number, (running, other) in enumerate(itertools.permutations(both)):
        built = build_wheel("acme-demo", f"2.{number}")
        assert await twine(running, built) == ""
        status, text = await page(other.url, "acme-demo")
        assert status == 200
        assert built.filename in text
    # Both take the same name at once, with other bytes: one of them has it.
    rivals = [build_wheel("acme-demo", "3.0", description=text) for text in ("one", "other")]
    taken = await asyncio.gather(*(_upload(running, built) for running, built in zip(both, rivals, strict=True)))
    assert sorted(taken) == [200, 409]
    winner = rivals[taken.index(200)]
    assert (home / "packages" / winner.filename).read_bytes() == winner.data
    for running in both:
        assert winner.sha256 in (await page(running.url, "acme-demo"))[1]
    # Both take the same bytes at once.
    same = build_wheel("acme-demo", "4.0")
    assert await asyncio.gather(*(_upload(running, same) for running in both)) == [200, 200]
    # What one removes the other has no longer.
    removal = {":action": "remove_pkg", "name": "acme-demo", "version": "4.0"}
    async with aiohttp.ClientSession(headers=ALICE) as client, client.post(f"{beside.url}/", data=removal) as answer:
        assert answer.status == 200
    assert same.filename not in (await page(server.url, "acme-demo"))[1]
    # One dies, the other goes on.
    await server.stop()
    last = build_wheel("acme-demo", "5.0")
    assert await twine(beside, last) == ""
    ran, found = await installers.install("uv", f"{beside.url}/simple/", "acme-demo")
    assert found == ["acme_demo-5.0"], ran.output
    assert sorted(_visible(home / "packages")) == sorted(
        built.filename
        for built in (OURS, build_wheel("acme-demo", "2.0"), build_wheel("acme-demo", "2.1"), winner, last)
    )
    assert "Traceback" not in server.log


def _visible(place: Path) -> list[str]:
    assert not [path.name for path in place.iterdir() if path.name.startswith(".")], "nothing is left over"
    return [path.name for path in place.iterdir()]


async def _upload(running: Running, built: BuiltFile) -> int:
    form = aiohttp.FormData({":action": "file_upload", "protocol_version": "1"})
    form.add_field("content", built.data, filename=built.filename)
    async with aiohttp.ClientSession(headers=ALICE) as client, client.post(f"{running.url}/", data=form) as answer:
        return answer.status
