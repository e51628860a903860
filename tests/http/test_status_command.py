"""`pkgindex-mirror status`: of a running server, and of a store."""

from __future__ import annotations

import asyncio
import json
import os
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from pkgindex_core.testing.wheels import build_wheel
from pkgindex_mirror.cli import main
from pkgindex_mirror.testing import ScriptedUpstream, behaviours
from tests.http.conftest import MIRRORED_WHEEL, Mirrored, MirroredStart, Serve, Served, make_store


async def status(*words: str) -> Result:
    """Run the command in a thread, while the server answers in this one."""
    return await asyncio.to_thread(CliRunner().invoke, main, ["status", *words])


async def with_credentials(served: Served) -> str:
    """The URL of the server, with a log-in of root's."""
    text, _ = await served.engine.tokens.make("root", who="[test]", kind="login", seconds=600)
    return served.url.replace("http://", f"http://__token__:{text}@")


async def used(world: Mirrored) -> None:
    """A page that is asked for twice, and its file, which is fetched and sent from the store."""
    for _ in range(2):
        _, body = await world.get("/root/pypi/+simple/demo/")
    (file,) = json.loads(body)["files"]
    for _ in range(2):
        await world.get(f"/root/pypi/+simple/demo/{file['url']}")
        await world.served.engine.settle()


async def test_a_running_server_is_shown_as_tables(mirrored: MirroredStart) -> None:
    async with mirrored() as world:
        await used(world)
        told = await status(await with_credentials(world.served))
    assert told.exit_code == 0, told.output
    upstream = world.upstream.root.rstrip("/")
    heads, mirror, _, files_heads, files, _, _, asked, *_ = (line.split() for line in told.stdout.splitlines())
    assert heads == [
        "index",
        "upstream",
        "state",
        "stored",
        "hit",
        "negative",
        "asked",
        "stale",
        "unknown",
        "last",
        "answer",
    ]
    assert mirror[:-1] == ["root/pypi", upstream, "answers", "1", "1", "0", "1", "0", "0"]
    assert files_heads[:5] == ["files", "of", "from", "the", "store"]
    size = f"{len(MIRRORED_WHEEL.data)} B"
    assert files == ["root/pypi", "1", "1", "0", "0", *size.split(), *size.split()]
    assert asked[:2] == [upstream, "2"]


async def test_programs_get_a_document(mirrored: MirroredStart) -> None:
    async with mirrored() as world:
        await used(world)
        told = await status(await with_credentials(world.served), "--json")
    document: dict[str, Any] = json.loads(told.stdout)
    (mirror,) = document["mirrors"]
    assert (mirror["index"], mirror["state"], mirror["stored_pages"]) == ("root/pypi", "answers", 1)
    assert (mirror["pages"]["hit"], mirror["pages"]["miss"]) == (1, 1)
    assert mirror["bytes"] == {"store": len(MIRRORED_WHEEL.data), "upstream": len(MIRRORED_WHEEL.data)}
    assert [each["upstream"] for each in document["upstreams"]] == [world.upstream.root.rstrip("/"), "other"]
    assert document["server"] == f"{world.served.url}"
    assert "__token__" not in told.output


async def test_an_upstream_that_fails_is_shown_as_left_alone(mirrored: MirroredStart) -> None:
    async with mirrored(attempts=1, breaker_failures=1) as world:
        world.upstream.script("page", behaviours.status(503))
        answer, _ = await world.get("/root/pypi/+simple/demo/")
        assert answer.status == 503
        told = json.loads((await status(await with_credentials(world.served), "--json")).stdout)
    assert told["mirrors"][0]["state"] == "left alone"
    assert told["mirrors"][0]["pages"]["unknown"] == 1
    assert told["upstreams"][0]["errors"] == {"status": 1}


async def test_credentials_come_from_netrc(
    mirrored: MirroredStart, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with mirrored() as world:
        text, _ = await world.served.engine.tokens.make("root", who="[test]", kind="login", seconds=600)
        place = tmp_path / "netrc"
        place.write_text(f"machine 127.0.0.1 login __token__ password {text}\n")
        place.chmod(0o600)
        monkeypatch.setenv("NETRC", str(place))
        assert (await status(world.served.url)).exit_code == 0


@pytest.mark.parametrize("how", ["no credentials", "nothing listens", "another server", "no URL of a server"])
async def test_what_cannot_be_shown_says_what_to_do(
    serve: Serve, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, how: str
) -> None:
    monkeypatch.setenv("NETRC", str(tmp_path / "none"))
    async with serve() as served, ScriptedUpstream() as other:
        url, reason = {
            "no credentials": (served.url, "answered 401"),
            "nothing listens": ("http://127.0.0.1:1", "does not answer"),
            "another server": (other.root, "not with counts of mirrors"),
            "no URL of a server": ("ftp://example.org", "is not an http or https URL"),
        }[how]
        told = await status(url)
    assert told.exit_code == 1
    assert told.stdout == ""
    error, hint = told.stderr.splitlines()
    assert error.startswith("error: ")
    assert reason in error
    assert hint.startswith("hint: ")


async def test_a_store_is_shown_without_a_server(mirrored: MirroredStart, serve: Serve, tmp_path: Path) -> None:
    wheel = build_wheel("hosted", "1.0")
    async with ScriptedUpstream() as upstream:
        upstream.add("demo", MIRRORED_WHEEL)
        async with serve(mirrors=True, upstream=upstream.url, store="", blobs="") as served:
            await served.put(wheel)
            await used(Mirrored(served, upstream))
        told = await status("--data", str(tmp_path / "data"), "--json")
        shown = await status("--data", str(tmp_path / "data"))
    document = json.loads(told.stdout)
    (mirror,) = document["mirrors"]
    assert (mirror["index"], mirror["upstream"], mirror["stored_pages"]) == ("root/pypi", upstream.url, 1)
    assert mirror["answered"] is not None
    assert (document["mirrored_files"], document["mirrored_bytes"]) == (1, len(MIRRORED_WHEEL.data))
    assert document["blobs"] == 3  # both wheels, and metadata of the hosted one
    assert "1 of them mirrors have fetched" in shown.stdout


async def test_the_last_answer_may_be_one_without_news(serve: Serve, tmp_path: Path) -> None:
    async with ScriptedUpstream() as upstream:
        upstream.add("demo", MIRRORED_WHEEL)
        async with serve(mirrors=True, upstream=upstream.url, store="", blobs="") as served:
            world = Mirrored(served, upstream)
            await world.page()
        first = json.loads((await status("--data", str(tmp_path / "data"), "--json")).stdout)
        async with serve(mirrors=True, upstream=upstream.url, store="", blobs="") as served:
            await Mirrored(served, upstream).post("/root/pypi/+simple/demo/refresh")
        second = json.loads((await status("--data", str(tmp_path / "data"), "--json")).stdout)
    assert first["mirrors"][0]["answered"] < second["mirrors"][0]["answered"]


def test_a_store_without_answers_is_shown_too(tmp_path: Path) -> None:
    make_store(tmp_path)
    told = CliRunner().invoke(main, ["status", "--data", str(tmp_path)], env={**os.environ})
    assert told.exit_code == 0, told.output
    assert told.stdout.splitlines()[1].split() == ["root/pypi", "https://pypi.org/simple/", "0", "-", "-"]
