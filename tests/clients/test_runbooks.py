"""The runbooks are followed word for word, with a real server; and every command in them exists.

The blocks of a runbook are run as they are written. `systemctl stop`, `start` and `reload` act on the server of the test, and the words of a
machine (`chown`, `journalctl`, `df`, `timedatectl`, `certbot`) are stand-ins that say that they were called. Other than that only the
examples in the first lines are replaced, and the places: `/srv`, the data directory, the URL.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import re
import shlex
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import click
import pytest

from pkgindex_core.digests import sha256_of
from pkgindex_core.protocols import Principal, TokenScope
from pkgindex_core.testing.wheels import BuiltFile, build_wheel
from pkgindex_http.access_log import JsonFormatter
from pkgindex_http.cli import main as serve_program
from pkgindex_mirror.cli import main as mirror_program
from pkgindex_mirror.testing import ScriptedUpstream
from tests.clients.conftest import ServerProcess
from tests.clients.running import clean_environment, run
from tests.crash.clients import ask

pytestmark = pytest.mark.timeout(240)

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "pkgindex_http/RUNBOOKS.md").read_text(encoding="utf-8")
PROGRAMS: dict[str, click.Command] = {"pkgindex-serve": serve_program, "pkgindex-mirror": mirror_program}
STAND_INS = ("chown", "journalctl", "df", "timedatectl", "certbot", "openssl")
OF_THE_SYSTEM = {*STAND_INS, "curl", "export", "mkdir", "mv", "pip", "rm", "sudo", "systemctl"}

ONE, TWO = build_wheel("demo", "1.0"), build_wheel("demo", "2.0")
MIRRORED = build_wheel("mirrored", "1.0")
EVIL = build_wheel("mirrored", "2.0")


def blocks(title: str) -> list[str]:
    """The commands of a runbook."""
    (section,) = re.findall(rf"^## {re.escape(title)}$\n(.*?)(?=^## |\Z)", PAGE, re.MULTILINE | re.DOTALL)
    return re.findall(r"^```sh\n(.*?)^```$", section, re.MULTILINE | re.DOTALL)


def lines() -> list[str]:
    return [
        line
        for block in re.findall(r"^```sh\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
        for line in block.splitlines()
    ]


def test_the_list_at_the_top_has_every_runbook() -> None:
    titles = re.findall(r"^## (.*)$", PAGE, re.MULTILINE)
    assert re.findall(r"^\* \[(.*)\]\(#", PAGE, re.MULTILINE) == titles
    assert len(titles) == 13


def test_the_first_look_at_the_log_finds_what_is_wrong() -> None:
    (line,) = [line for line in lines() if line.startswith("journalctl --unit pkgindex --since")]
    *_, pattern = shlex.split(line)
    written = {
        level: JsonFormatter().format(logging.LogRecord("pkgindex.http", level, "", 0, "a file is damaged", (), None))
        for level in (logging.INFO, logging.WARNING, logging.ERROR)
    }
    assert [level for level, text in written.items() if re.search(pattern, text)] == [logging.WARNING, logging.ERROR]


def test_the_log_is_searched_for_a_user_and_the_tokens_of_that_user() -> None:
    (line,) = [line for line in lines() if '"who":' in line]
    *_, pattern = shlex.split(line)
    scope = TokenScope(token_id="uJQ8GAYnyBT6")
    found = [Principal(name="anna"), Principal(name="anna", scope=scope), Principal(name="annabel")]
    assert [bool(re.search(pattern, json.dumps({"who": each.label}, separators=(",", ":")))) for each in found] == [
        True,
        True,
        False,
    ]


@pytest.mark.parametrize("line", lines())
def test_the_command_exists(line: str) -> None:
    if re.match(r"\w+=", line):
        return
    program, *words = shlex.split(line)
    if program not in PROGRAMS:
        assert program in OF_THE_SYSTEM
        return
    command = PROGRAMS[program]
    context = click.Context(command, **command.context_settings)
    while isinstance(command, click.Group):
        _, found, words = command.resolve_command(context, words)
        assert found is not None
        command = found
        context = click.Context(command, parent=context, **command.context_settings)
    command.make_parser(context).parse_args(words)
    needed = sum(one.required for one in command.params if isinstance(one, click.Argument))
    assert len(command.make_parser(context).parse_args(words)[0].values()) >= needed


class Follower:
    """Follows a runbook on a server of the test's own."""

    def __init__(self, server: ServerProcess, upstream: ScriptedUpstream, place: Path) -> None:
        self.server = server
        self.upstream = upstream
        self.place = place
        self.called: list[str] = []
        """What the stand-ins were called with."""
        (place / "bin").mkdir()
        for name in STAND_INS:
            program = place / "bin" / name
            program.write_text(f'#!/bin/sh\necho "{name} $*" >> "{place}/called"\n')
            program.chmod(0o755)
        (place / "srv").mkdir()

    async def follow(
        self, title: str, *, number: int | None = None, typed: str = "", status: int = 0, **examples: str
    ) -> str:
        """Run the blocks of a runbook, or one of them; what they printed. `status`: how the last command has to end."""
        chosen = blocks(title) if number is None else [blocks(title)[number]]
        said, set_before = "", ""
        for block in chosen:
            *_, last = block.splitlines()
            for line in block.splitlines():
                if line.startswith("systemctl "):
                    await self._system(line)
                    continue
                match = re.match(r"(\w+)=", line)
                if match is not None:
                    value = examples.get(match[1])
                    set_before += f"{match[1]}={shlex.quote(value)}\n" if value is not None else f"{line}\n"
                    continue
                said += await self._run(set_before + line, typed, status if line == last else 0)
        return said

    async def _run(self, script: str, typed: str, status: int) -> str:
        text = f"url={self.server.url}\n{script}".replace("/srv/", f"{self.place}/srv/").replace(
            "curl -s -u root", "curl -s -u root:$PASSWORD"
        )
        path = os.pathsep.join([str(self.place / "bin"), str(Path(sys.executable).parent), os.environ["PATH"]])
        env = {"PATH": path, "PYTHONPATH": str(ROOT), "PKGINDEX_DATA": str(self.server.data)}
        password = self.server.data / "root-password"
        env |= {"PASSWORD": password.read_text().strip()} if password.exists() else {}
        ran = await run("bash", "-euo", "pipefail", "-c", text, env=clean_environment() | env, typed=typed)
        assert ran.status == status, f"{script}\n{ran.output}"
        return ran.output

    async def _system(self, line: str) -> None:
        match shlex.split(line)[1:]:
            case ["stop", "pkgindex"]:
                assert await self.server.stop() == 0
            case ["start", "pkgindex"]:
                await self.server.start()
            case [*words]:
                self.called.append(" ".join(words))

    async def get(self, path: str) -> tuple[int | None, bytes]:
        host, _, port = self.server.url.removeprefix("http://").partition(":")
        answer = await ask((host, int(port)), path)
        return answer.status, answer.body

    async def installs(self, built: BuiltFile, index: str = "root/dev") -> bool:
        """Whether a page lists the file, and whether its bytes are right if so."""
        _, page = await self.get(f"/{index}/+simple/{built.filename.split('-')[0]}/")
        if built.filename.encode() not in page:
            return False
        origin = "root/pypi" if built in {MIRRORED, EVIL} else index
        status, body = await self.get(url_of(built, origin))
        return status == 200 and sha256_of(body) == built.sha256


def url_of(built: BuiltFile, index: str) -> str:
    return f"/{index}/+f/{built.sha256[:3]}/{built.sha256[3:16]}/{built.filename}"


@pytest.fixture
async def follower(tmp_path: Path) -> AsyncIterator[Follower]:
    """A server with an uploaded and a mirrored release."""
    async with ScriptedUpstream() as upstream:
        upstream.add("mirrored", MIRRORED, EVIL)
        server = ServerProcess(tmp_path / "data", upstream.url, PYTHONPATH=str(ROOT))
        await server.start()
        try:
            follower = Follower(server, upstream, tmp_path)
            for built in (ONE, TWO):
                (tmp_path / "srv" / built.filename).write_bytes(built.data)
                await follower._run(f"pkgindex-serve upload /srv/{built.filename} --index root/dev", "", 0)
            assert await follower.installs(ONE)
            assert await follower.installs(MIRRORED)
            yield follower
        finally:
            await server.kill()


def blob(follower: Follower, built: BuiltFile) -> Path:
    (found,) = (follower.server.data / "blobs").rglob(built.sha256)
    return found


async def test_the_disk_is_full(follower: Follower) -> None:
    fetched = follower.upstream.count("file")
    said = await follower.follow("The disk is full")
    assert '"write": true' in said
    assert not list((follower.server.data / "blobs/mirrored").rglob(MIRRORED.sha256))
    assert await follower.installs(MIRRORED)
    assert await follower.installs(ONE)
    assert follower.upstream.count("file") == fetched + 1


async def test_the_database_cannot_be_read(follower: Follower) -> None:
    await follower.follow("The database cannot be read")
    assert await follower.installs(ONE)


async def test_the_store_of_files_does_not_answer(follower: Follower) -> None:
    assert '"ready": true' in await follower.follow("The store of files does not answer")


async def test_an_upstream_does_not_answer(follower: Follower) -> None:
    async with ScriptedUpstream() as other:
        other.add("mirrored", MIRRORED)
        other.add("elsewhere", build_wheel("elsewhere", "1.0"))
        said = await follower.follow(
            "An upstream does not answer", upstream=follower.upstream.url, project="mirrored", other=other.url
        )
        assert follower.upstream.url in said
        assert (await follower.get("/root/pypi/+simple/elsewhere/"))[0] == 200
        assert await follower.installs(MIRRORED)


async def test_a_file_is_damaged(follower: Follower) -> None:
    await follower.server.stop()  # a mirrored file is stored after the answer
    await follower.server.start()
    await follower._run("pkgindex-serve backup /srv/backup", "", 0)

    def damage(*files: BuiltFile) -> None:
        for built in files:
            path = blob(follower, built)
            path.write_bytes(path.read_bytes()[:-1] + b"?")

    damage(ONE, MIRRORED)
    title = "A file is damaged"
    assert "set aside, then fetched again" in await follower.follow(title, number=0, status=3)
    assert ONE.filename in await follower.follow(title, number=1, status=3)
    assert await follower.installs(MIRRORED)
    await follower.follow(title, number=3, file=f"/srv/{ONE.filename}")
    assert await follower.installs(ONE)
    damage(ONE)
    await follower.follow(title, number=2)
    assert await follower.installs(ONE)


async def test_a_token_has_leaked(follower: Follower) -> None:
    await follower._run("pkgindex-serve user create anna --password-stdin", "a password\n", 0)
    leaked = (await follower._run("pkgindex-serve token create anna 2>/dev/null", "", 0)).strip()
    name = leaked.removeprefix("pkgi_")[:12]

    async def works(user: str, password: str) -> bool:
        script = f'curl -s -u {user}:{shlex.quote(password)} "$url/+api"'
        return json.loads(await follower._run(script, "", 0))["result"]["authstatus"][0] == "ok"

    assert await works("__token__", leaked)
    title = "A token or a password has leaked"
    assert name in await follower.follow(title, number=0, user="anna", token=name)
    assert not await works("__token__", leaked)
    assert await works("anna", "a password")
    await follower._run('user=anna; pkgindex-serve user password "$user" --password-stdin', "another password\n", 0)
    assert not await works("anna", "a password")
    await follower.follow(title, number=2)
    assert "journalctl" in (follower.place / "called").read_text()
    created = await follower.follow(title, number=3, user="anna")
    assert "pkgi_" in created


async def test_a_malicious_release_was_uploaded(follower: Follower) -> None:
    said = await follower.follow("A malicious release", number=0, project="demo", file=TWO.filename)
    assert "root" in said
    assert await follower.installs(ONE)
    assert not await follower.installs(TWO)
    assert (await follower.get(url_of(TWO, "root/dev")))[0] == 410


async def test_a_malicious_release_comes_from_an_upstream(follower: Follower) -> None:
    title = "A malicious release"
    assert await follower.installs(EVIL)
    await follower.follow(title, number=1, blocked="mirrored!=2.0")
    assert not await follower.installs(EVIL)
    assert await follower.installs(MIRRORED)
    assert (await follower.get(url_of(EVIL, "root/pypi")))[0] == 200
    hosted = follower.upstream.projects["mirrored"]
    follower.upstream.projects["mirrored"] = [each for each in hosted if each.built is not EVIL]
    await follower.follow(title, number=2, project="mirrored")
    assert (await follower.get(url_of(EVIL, "root/pypi")))[0] in {404, 410}
    assert await follower.installs(MIRRORED)


async def test_the_password_of_root_is_lost(follower: Follower) -> None:
    (line,) = blocks("The password of root is lost")
    await follower._run(f"{line.strip()} --password-stdin", "a new password\n", 0)
    said = await follower._run('curl -s -u "root:a new password" "$url/+api"', "", 0)
    assert json.loads(said)["result"]["authstatus"][:2] == ["ok", "root"]


async def test_a_backup_is_restored(follower: Follower) -> None:
    title = "Restore a backup"
    await follower.follow(title, number=0)
    (taken,) = (follower.place / "srv" / "backup" / "backups").glob("*.json")
    assert taken.stem in await follower.follow(title, number=1)
    database = follower.server.data / "index.sqlite"
    await follower.follow(title, number=2)
    assert not database.exists()
    said = await follower.follow(title, number=3)
    assert f"restoring the backup {taken.stem}" in said
    assert '"ready": true' in said
    for built in (ONE, TWO, MIRRORED):
        assert await follower.installs(built)


async def test_a_replica_becomes_the_primary(follower: Follower, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    url = follower.server.url.replace("http://", f"http://root:{follower.server.password}@")
    replica = ServerProcess(tmp_path / "other/data", follower.upstream.url, PYTHONPATH=str(ROOT), PKGINDEX_FOLLOW=url)
    await replica.start()
    primary, follower.server = follower.server, replica
    title = "The primary of a replica is lost"
    try:
        async with asyncio.timeout(60):
            while b'"whole": true' not in (await follower.get("/+ready"))[1]:
                await asyncio.sleep(0.05)
        await primary.kill()
        assert '"role": "REPLICA"' in await follower.follow(title, number=0)
        await follower.follow(title, number=1)
        replica.without("PKGINDEX_FOLLOW")
        said = await follower.follow(title, number=2)
        assert '"write": true' in said
        for built in (ONE, TWO):
            assert await follower.installs(built)
        only = build_wheel("only", "3.0")
        (tmp_path / "srv" / only.filename).write_bytes(only.data)
        await follower._run(f"pkgindex-serve upload /srv/{only.filename} --index root/dev", "", 0)
        assert await follower.installs(only)
    finally:
        await replica.kill()


async def test_two_servers_have_different_content(follower: Follower, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    other = ServerProcess(tmp_path / "other/data", follower.upstream.url, PYTHONPATH=str(ROOT))
    await other.start()
    try:
        only = build_wheel("only", "3.0")
        (tmp_path / "srv" / only.filename).write_bytes(only.data)
        words: Any = {"env": clean_environment() | {"PYTHONPATH": str(ROOT), "PKGINDEX_DATA": str(other.data)}}
        ran = await run(
            Path(sys.executable).with_name("pkgindex-serve"), "upload", tmp_path / "srv" / only.filename, **words
        )
        assert ran.status == 0, ran.output
        title = "Two servers have different content"
        said = await follower.follow(title, number=0, second=other.url)
        assert len(set(re.findall(r'"uuid": "(\w+)"', said))) == 2
        await follower.follow(title, number=1, second=other.url, release="only==3.0")
        assert await follower.installs(only)
    finally:
        await other.kill()


async def test_the_clock_was_wrong_and_a_certificate_has_expired(follower: Follower) -> None:
    await follower._run("pkgindex-serve user create anna --password-stdin", "a password\n", 0)
    await follower.follow("The clock was wrong")
    await follower.follow("A certificate has expired")
    assert follower.called == ["reload nginx"]
    called = (follower.place / "called").read_text()
    assert {"timedatectl", "certbot", "openssl"} <= set(re.findall(r"^\w+", called, re.MULTILINE))
