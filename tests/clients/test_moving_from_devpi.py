"""A devpi-server filled by its own client, exported and imported here: the same pages, links, hashes, metadata and lock."""

from __future__ import annotations

import sys
from pathlib import Path

import aiohttp
import pytest

from pkgindex_core.testing.wheels import build_sdist, build_wheel
from pkgindex_mirror.testing.upstream import ScriptedUpstream
from tests.clients.conftest import ServerProcess
from tests.clients.moving import SIMPLE, Client, commands_of, docs_zip, document, look, sdist_zip, served
from tests.clients.running import executable, run

pytestmark = [pytest.mark.clients, pytest.mark.timeout(300)]

REQUIREMENTS = ("devpi-server==6.20.3", "devpi-client==7.3.0")
PASSWORDS = {"root": "secret-of-root", "alice": "secret-of-alice", "bob": "secret-of-bob"}
INDEXES = ("alice/base", "alice/left", "bob/right", "bob/top")
PROJECTS = ("demo", "odd-name", "six", "idna")


@pytest.fixture(scope="session")
def devpi(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The commands of a clean environment with devpi's server and client."""
    return commands_of(tmp_path_factory.mktemp("devpi"), *REQUIREMENTS)


async def fill(devpi: Client, url: str, upstream: ScriptedUpstream, place: Path) -> None:
    """Two users, four indexes in a diamond over a mirror, and a bit of everything in them."""
    await devpi("use", url)
    await devpi("login", "root", "--password", PASSWORDS["root"])
    await devpi("index", "root/pypi", f"mirror_url={upstream.url}", "mirror_cache_expiry=60")
    for user in ("alice", "bob"):
        await devpi("user", "-c", user, f"password={PASSWORDS[user]}", f"email={user}@example.com")
    await devpi("login", "bob", "--password", PASSWORDS["bob"])
    await devpi("index", "-c", "bob/right", "title=Right")
    await devpi("login", "alice", "--password", PASSWORDS["alice"])
    await devpi("index", "-c", "alice/base", "volatile=False", "acl_upload=alice,bob", "mirror_whitelist=six")
    await devpi("index", "-c", "alice/left", "bases=alice/base")

    dist = place / "dist"
    dist.mkdir()
    built = [
        build_wheel("demo", "1.0", requires_python=">=3.8", requires_dist=("six", "Odd.Name"), description="# Demo"),
        build_sdist("demo", "1.0", requires_python=">=3.8", requires_dist=("six", "Odd.Name")),
        build_wheel("Odd.Name", "2.0rc1"),
    ]
    for one in built:
        (dist / one.filename).write_bytes(one.data)
    # Names of other times: an sdist that PEP 625 would spell otherwise, and one in a zip.
    (dist / "Odd.Name-2.0.tar.gz").write_bytes(build_sdist("Odd.Name", "2.0").data)
    (dist / "demo-0.9.zip").write_bytes(sdist_zip("demo", "0.9"))
    (dist / "demo-1.0.doc.zip").write_bytes(docs_zip("<h1>demo 1.0</h1>"))
    await devpi("use", "alice/base")
    await devpi("upload", "--from-dir", dist)

    # Overwritten in a volatile index.
    await devpi("use", "alice/left")
    for text in ("first", "second"):
        wheel = build_wheel("demo", "1.1", requires_python=">=3.9", requires_dist=("six", "Odd.Name"), description=text)
        (place / wheel.filename).write_bytes(wheel.data)
        await devpi("upload", place / wheel.filename)

    # Pushed from one to another, and a private package over all of it.
    await devpi("login", "bob", "--password", PASSWORDS["bob"])
    await devpi("use", "alice/base")
    await devpi("push", "demo==1.0", "bob/right")
    await devpi("index", "bob/right", "bases=alice/base")
    await devpi("index", "-c", "bob/top", "bases=alice/left,bob/right,root/pypi", "mirror_whitelist=*")


async def locked(url: str, place: Path) -> str:
    """What uv resolves, hashes and all."""
    wanted, lock = place / "requirements.in", place / "requirements.txt"
    wanted.write_text("demo\nidna\n")
    lock.unlink(missing_ok=True)
    said = await run(
        executable("uv"), "pip", "compile", "--no-cache", "--generate-hashes", "--no-header", "--no-annotate",
        "--prerelease", "allow", "--default-index", f"{url}/bob/top/+simple/", wanted, "-o", lock,
    )  # fmt: skip
    assert said.status == 0, said.output
    return lock.read_text()


async def installed(url: str, target: Path) -> list[str]:
    said = await run(
        executable("uv"), "pip", "install", "--no-cache", "--prerelease", "allow", "--python", sys.executable,
        "--target", target, "--default-index", f"{url}/bob/top/+simple/", "demo", "idna",
    )  # fmt: skip
    assert said.status == 0, said.output
    return sorted(path.name for path in target.glob("*.dist-info"))


async def test_the_same_pages_links_hashes_metadata_and_lock(
    devpi: Path, upstream: ScriptedUpstream, tmp_path: Path
) -> None:
    data, dump = tmp_path / "devpi-data", tmp_path / "dump"
    init = await run(devpi / "devpi-init", "--serverdir", data, "--root-passwd", PASSWORDS["root"])
    assert init.status == 0, init.output
    async with served(devpi, data) as url:
        await fill(Client(devpi, tmp_path), url, upstream, tmp_path)
        async with aiohttp.ClientSession() as session:
            told = await document(session, f"{url}/alice/base/demo/1.0")
            tested = next(link["href"] for link in told["result"]["+links"] if link["href"].endswith(".whl"))
            async with session.post(tested, json={"testenvs": {}}) as answer:
                assert answer.status == 200
            options = {index: (await document(session, f"{url}/{index}?no_projects="))["result"] for index in INDEXES}
        before = await look(url, INDEXES, PROJECTS, files_of=("bob/top",))
        lock = await locked(url, tmp_path)
        assert all(name in lock for name in ("demo==1.1", "idna==3.10", "odd-name==2.0", "six==1.17.0")), lock
        names = await installed(url, tmp_path / "installed-before")
    exported = await run(devpi / "devpi-export", "--serverdir", data, "--include-mirrored-files", dump)
    assert exported.status == 0, exported.output

    server = ServerProcess(tmp_path / "data", upstream.url)
    said = await run(executable("pkgindex-serve"), "import", "devpi", dump, "--json", "--data", server.data)
    assert said.status == 0, said.output
    assert '"complete": true' in said.output
    assert "would be refused" not in said.output  # what is merely of another age is taken as an upload too
    await server.start()
    try:
        after = await look(server.url, INDEXES, PROJECTS, files_of=("bob/top",))
        assert after.pages == before.pages
        assert after.files == before.files
        assert after.documents == before.documents
        for index, expected in options.items():
            async with aiohttp.ClientSession() as session:
                assert (await document(session, f"{server.url}/{index}?no_projects="))["result"] == expected
        assert await locked(server.url, tmp_path) == lock
        assert await installed(server.url, tmp_path / "installed-after") == names
        # The passwords go on working, with the client that knows devpi.
        (tmp_path / "new").mkdir()
        client = Client(devpi, tmp_path / "new")
        await client("use", f"{server.url}/alice/base")
        for user, password in PASSWORDS.items():
            await client("login", user, "--password", password)
        # And what the mirror had fetched is here without it.
        await upstream.stop()
        async with (
            aiohttp.ClientSession() as session,
            session.get(f"{server.url}/bob/top/+simple/six/", headers=SIMPLE) as answer,
        ):
            assert answer.status == 200
    finally:
        await server.kill()
