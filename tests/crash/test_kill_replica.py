"""kill -9 of a replica at each step: it goes on, and ends with the commits and the files of its primary."""

from __future__ import annotations

import asyncio
from pathlib import Path

import aiohttp
import pytest

from pkgindex_core.failpoints import POINTS
from pkgindex_core.testing.wheels import build_wheel
from tests.crash.conftest import Command
from tests.crash.oracle import BEFORE, JSON, prepare_data, upload
from tests.crash.processes import PATIENCE_SECONDS, ServerProcess, Starter, running
from tests.crash.test_kill_moving import content_of
from tests.http.conftest import PASSWORD

STEPS = sorted(point for point in POINTS if point.startswith("replica."))
REPEATED = ["replica.commits_read", "replica.file_fetched", "replica.files_kept", "replica.replayed"]


@pytest.mark.parametrize(
    "point",
    [
        *STEPS,
        *(f"{point}@2" for point in REPEATED),
        "blob.renamed",
        "blob.written",
        "commit.written",
        "commit.committed",
    ],
)
async def test_a_killed_replica_goes_on(starter: Starter, command: Command, tmp_path: Path, point: str) -> None:
    data, copy = tmp_path / "data", tmp_path / "copy"
    await prepare_data(data)
    name, _, turn = point.partition("@")
    async with running(ServerProcess(starter, data)) as primary:
        config = follow(tmp_path, primary.url)
        words = ("run", "--config", config, "--data", copy, "--port", "0")
        assert await command(*words, failpoints=f"{name}=kill@{turn or 1}") == -9
        async with running(ServerProcess(starter, copy, "--config", str(config))) as replica:
            await level(replica)
            await shows(replica, BEFORE.filename)
            assert await replica.stop() == 0
        assert await primary.stop() == 0
    await is_copied(data, copy)
    assert await command("verify", "--data", copy) == 0


async def test_a_replica_that_is_killed_again_and_again(starter: Starter, tmp_path: Path) -> None:
    """While the primary takes uploads: whatever a replica shows is whole, and in the end it has everything."""
    data, copy = tmp_path / "data", tmp_path / "copy"
    await prepare_data(data)
    built = [build_wheel("many", f"{number}.0") for number in range(30)]
    async with running(ServerProcess(starter, data)) as primary:
        config = follow(tmp_path, primary.url)
        replica = ServerProcess(starter, copy, "--config", str(config))
        for start in range(0, len(built), 5):
            async with running(replica):
                await level(replica)
                for each in built[start : start + 5]:
                    answer = await upload(primary.address, each)
                    assert answer is not None
                    assert answer.status == 200
                shown = await filenames(replica)  # whichever came so far
                assert all([await fetches(replica, url) for url in shown.values()])
        async with running(replica):
            await level(replica)
            assert set(await filenames(replica)) == {each.filename for each in built}
            assert await replica.stop() == 0
        assert await primary.stop() == 0
    await is_copied(data, copy)


async def is_copied(data: Path, copy: Path) -> None:
    """Whether the copy has the same commits, and all files. It also has the blob with which a server tries its disk."""
    (commits, blobs), (copied, kept) = await content_of(data), await content_of(copy)
    assert copied == commits
    assert kept >= blobs


def follow(place: Path, url: str) -> Path:
    """A configuration that follows a server."""
    config = place / "replica.toml"
    told = url.replace("http://", f"http://root:{PASSWORD.replace(' ', '%20')}@")
    config.write_text(f'follow = "{told}"\n')
    return config


async def level(replica: ServerProcess) -> None:
    """Wait until it has everything that its primary has told of."""
    async with aiohttp.ClientSession() as client, asyncio.timeout(PATIENCE_SECONDS):
        while True:
            async with client.get(f"{replica.url}/+ready") as answer:
                told = (await answer.json(content_type=None)).get("replica", {})
            if told.get("follows") and told["whole"] and told["lag_serials"] == 0:
                return
            await asyncio.sleep(0.02)


async def shows(replica: ServerProcess, filename: str) -> None:
    project = filename.partition("-")[0]
    assert filename in await filenames(replica, project)


async def filenames(replica: ServerProcess, project: str = "many") -> dict[str, str]:
    """The files of a page with their URLs."""
    url = f"{replica.url}/root/dev/+simple/{project}/"
    async with aiohttp.ClientSession() as client, client.get(url, headers=JSON) as answer:
        if answer.status == 404:
            return {}
        assert answer.status == 200
        document = await answer.json(content_type=None)
        return {file["filename"]: str(answer.url.join(type(answer.url)(file["url"]))) for file in document["files"]}


async def fetches(replica: ServerProcess, url: str) -> bool:
    async with aiohttp.ClientSession() as client, client.get(url) as answer:
        await answer.read()
        return answer.status == 200
