"""Quotas, retention and slowed log-ins as clients meet them: what twine, uv and devpi print, and what is there afterwards."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from pkgindex_core.testing.wheels import BuiltFile, build_wheel
from pkgindex_mirror.testing.upstream import ScriptedUpstream
from tests.clients.conftest import Installers, ServerProcess
from tests.clients.devpi import Hire, told
from tests.clients.running import Ran, executable, run
from tests.conftest import Tally
from tests.database_server import DatabaseServer

pytestmark = [pytest.mark.clients, pytest.mark.timeout(240)]

ROOT = Path(__file__).parents[2]
AT_ONCE, ROOM = 24, 5


@pytest.fixture
async def limited(tmp_path: Path, upstream: ScriptedUpstream) -> AsyncIterator[ServerProcess]:
    """A server that allows two failed log-ins."""
    process = ServerProcess(tmp_path / "data", upstream.url, PYTHONPATH=str(ROOT), PKGINDEX_FAILED_LOGINS="2")
    await process.start()
    try:
        yield process
    finally:
        await process.kill()


async def own(server: ServerProcess, *words: str, fails: bool = False) -> str:
    """A command of ours on the server's data."""
    ran = await run(executable("pkgindex-serve"), *words, "--data", server.data, env={"PYTHONPATH": str(ROOT)})
    assert (ran.status != 0) == fails, ran.output
    return ran.output


def write(directory: Path, built: BuiltFile) -> Path:
    (directory / built.filename).write_bytes(built.data)
    return directory / built.filename


async def twine(server: ServerProcess, file: Path, password: str = "") -> Ran:
    return await run(
        executable("twine"), "upload", "--non-interactive", "--disable-progress-bar", "--repository-url",
        f"{server.url}/legacy/", "-u", "root", "-p", password or server.password, file,
    )  # fmt: skip


async def uv(server: ServerProcess, file: Path) -> Ran:
    return await run(
        executable("uv"), "publish", "--no-cache", "--publish-url", f"{server.url}/legacy/",
        "--username", "root", "--password", server.password, "--trusted-publishing", "never", file,
    )  # fmt: skip


async def test_clients_print_which_quota_is_full(
    limited: ServerProcess, installers: Installers, tmp_path: Path
) -> None:
    one, two = (write(tmp_path, build_wheel("demo", version)) for version in ("1.0", "2.0"))
    size = one.stat().st_size
    await own(limited, "index", "modify", "root/dev", f"max_project_bytes={size + 1}")
    assert (await twine(limited, one)).status == 0
    for option, given, words in (
        ("max_project_bytes", size + 1, "demo in root/dev would have"),
        ("max_index_bytes", size + 1, "the index root/dev would have"),
        ("max_file_bytes", size - 1, "larger than the limit of"),
    ):
        others = (each for each in ("max_project_bytes", "max_index_bytes", "max_file_bytes") if each != option)
        await own(limited, "index", "modify", "root/dev", f"{option}={given}", *(f"{each}=0" for each in others))
        for client in (twine, uv):
            refused = await client(limited, two)
            said = " ".join(refused.output.split())
            assert refused.status != 0
            assert all(each in said for each in ("413", words, str(given))), said
    ran, found = await installers.install("uv", f"{limited.url}/simple/", "demo")
    assert found == ["demo-1.0"], ran.output
    shown = json.loads(await own(limited, "index", "show", "root/dev"))
    assert (shown["max_file_bytes"], shown["stored_bytes"]) == (size - 1, size)
    await own(limited, "index", "modify", "root/dev", "max_file_bytes-=", f"max_index_bytes={2 * size + 10}")
    assert (await uv(limited, two)).status == 0


async def test_what_a_retention_removes_comes_back(
    limited: ServerProcess, installers: Installers, tmp_path: Path
) -> None:
    for version in ("1.0", "2.0", "3.0rc1", "3.0"):
        assert (await twine(limited, write(tmp_path, build_wheel("demo", version)))).status == 0
    assert "has no retention rule" in await own(limited, "retain", "root/dev", fails=True)
    await own(limited, "index", "modify", "root/dev", "retain_releases=1", "retain_always=demo==2.0")
    told(
        await own(limited, "retain", "root/dev", "--dry-run"),
        "protected\tdemo\t2.0\t1 file\t",
        "would go\tdemo\t1.0\t1 file\t",
        "1 releases (",
    )
    page = f"{limited.url}/simple/"
    _, found = await installers.install("uv", page, "demo==1.0")
    assert found == ["demo-1.0"]
    told(await own(limited, "retain", "root/dev"), "removed\tdemo\t1.0\t")
    ran, found = await installers.install("uv", page, "demo==1.0")
    assert (found, "demo==1.0" in ran.output) == ([], True)
    told(await own(limited, "retain", "root/dev", "--undo", "--dry-run"), "would come back\tdemo\tdemo-1.0-py3")
    told(await own(limited, "retain", "root/dev", "--undo"), "brought back\tdemo\tdemo-1.0-py3")
    for client in installers.names:
        _, found = await installers.install(client, page, "demo==1.0")
        assert found == ["demo-1.0"]
    kept = json.loads((await own(limited, "retain", "root/dev", "--json")).rpartition("}")[0] + "}")
    reasons = {each["version"]: each["reason"] for each in kept["projects"]["demo"]}
    assert reasons["1.0"] == "it was brought back"
    told(await own(limited, "history", "demo-1.0-py3-none-any.whl"), "upload by root to root/dev", "restore by root")


async def test_a_right_password_ends_a_row_of_wrong_ones(limited: ServerProcess, hire: Hire, tmp_path: Path) -> None:
    person = hire("root")
    await person.devpi("use", limited.url)
    said = [await person.devpi("login", "root", f"--password=wrong{turn}", fails=True) for turn in range(4)]
    assert [("401" in each, "429" in each) for each in said] == [(True, False)] * 2 + [(False, True)] * 2
    told(said[-1], "too many log-ins from this address have failed")
    wheel = write(tmp_path, build_wheel("demo", "1.0"))
    refused = await twine(limited, wheel, "wrong")
    assert refused.status != 0
    told(refused.output, "HTTPError: 429", "too many log-ins from this address have failed")
    told(await person.devpi("login", "root", f"--password={limited.password}"), "logged in 'root'")
    await person.devpi("use", "root/dev")
    await person.devpi("upload", wheel)
    assert (await uv(limited, wheel)).status == 0


@pytest.fixture
def database(database_server: DatabaseServer) -> Iterator[str]:
    database_server.sql("CREATE DATABASE limits")
    yield database_server.url("limits")
    database_server.sql("DROP DATABASE limits WITH (FORCE)")


async def test_two_servers_keep_one_quota(
    database: str, upstream: ScriptedUpstream, tmp_path: Path, tally: Tally
) -> None:
    """twine and uv upload to two servers at once. As many files get in as there is room for."""
    words = ("--store", database, "--blobs", f"file://{tmp_path}/blobs")
    servers = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        servers.append(ServerProcess(tmp_path / name / "data", upstream.url, *words, PYTHONPATH=str(ROOT)))
        await servers[-1].start()
    try:
        servers[1].data.joinpath("root-password").write_text(servers[0].password)
        files = [write(tmp_path, build_wheel("demo", f"{number}.0")) for number in range(10, 10 + AT_ONCE)]
        least, most = (choice(file.stat().st_size for file in files) for choice in (min, max))
        room = ROOM * most + 1
        assert room < (ROOM + 1) * least
        await own(servers[0], "index", "modify", "root/dev", f"max_index_bytes={room}", *words)
        outcomes: list[Ran] = []
        for start in range(0, AT_ONCE, 8):  # eight clients at a time: they are slow to start
            outcomes += await asyncio.gather(
                *(
                    (twine, uv)[number // 2 % 2](servers[number % 2], files[number])
                    for number in range(start, start + 8)
                )
            )
        shown = json.loads(await own(servers[0], "index", "show", "root/dev", *words))
        assert [ran.status for ran in outcomes].count(0) == ROOM
        assert all("413" in ran.output for ran in outcomes if ran.status)
        assert ROOM * least <= shown["stored_bytes"] <= room
        await own(servers[1], "verify", *words)  # the counted bytes are those of the files
    finally:
        for server in servers:
            await server.kill()
    tally("uploads to two servers at once, of which a quota let five in", AT_ONCE)
