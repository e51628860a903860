"""A devpi-server 7 filled by devpi's client: a bit of everything that an index of devpi 7 can be.

    alice/pypi, alice/second    remotes; both have six-1.16.0 in one name and different bytes
    alice/base                  not volatile; six is here too, and may come from remotes (PATCH on the project)
    alice/left, bob/right       inherit from alice/base; clash-1.0 is in base and in right with different bytes
    bob/top                     left, right and pypi: what is here is taken from nowhere else
    bob/open                    the same, `allow all`
    bob/trusting                left and pypi, trusts the rules of its bases
    bob/named                   left and pypi, `allow all` for demo alone
    bob/both                    pypi and second

Run as a program it records `tests/golden/devpi7`: a dump that devpi-export of 7.0.0b4 wrote, and the pages that the server gave before.

    uv venv /tmp/devpi7 && uv pip install --python /tmp/devpi7 devpi-server==7.0.0b4 devpi-client==7.3.0
    .venv/bin/python -m tests.clients.devpi7 /tmp/devpi7/bin
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import shutil
import sys
import tempfile
from base64 import b64encode
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import aiohttp

from pkgindex_core.testing.wheels import build_sdist, build_wheel
from pkgindex_mirror.testing.upstream import ScriptedUpstream
from tests.clients.moving import Client, Seen, docs_zip, document, look, sdist_zip, served
from tests.clients.running import run

GOLDEN: Final = Path(__file__).parents[1] / "golden" / "devpi7"
UPSTREAMS: Final = {"first": "http://first.example/", "second": "http://second.example/"}
"""What stands in the recorded dump for the two upstreams."""
PASSWORDS: Final = {"alice": "secret-of-alice", "bob": "secret-of-bob"}
HOSTED: Final = (
    "alice/base", "alice/left", "bob/right", "bob/top", "bob/open", "bob/trusting", "bob/named", "bob/both",
)  # fmt: skip
REMOTES: Final = ("alice/pypi", "alice/second")
PROJECTS: Final = ("demo", "odd-name", "six", "clash", "gone")
OTHER_ORDER: Final = {"bob/top clash", "bob/open clash", "bob/both six"}
"""Pages with a file whose bytes depend on the order of bases, which is another one in devpi 7.0."""


def supply(first: ScriptedUpstream, second: ScriptedUpstream) -> None:
    """Give the two upstreams what they have."""
    first.add("six", build_wheel("six", "1.16.0"))
    first.add("six", build_sdist("six", "1.17.0", requires_python=">=3"))
    first.add("demo", build_wheel("demo", "9.0"))
    second.add("six", build_wheel("six", "1.16.0", description="other bytes"))


async def fill(devpi: Client, url: str, upstreams: Mapping[str, str], place: Path) -> None:
    """Fill a fresh server whose root has no password, as it is by default."""
    await devpi("use", url)
    for user, password in PASSWORDS.items():
        await devpi("user", "-c", user, f"password={password}", f"email={user}@example.com")
    await devpi("login", "bob", "--password", PASSWORDS["bob"])
    await devpi("index", "-c", "bob/right", "title=Right", "description=of bob", "acl_toxresult_upload=bob")
    await devpi("login", "alice", "--password", PASSWORDS["alice"])
    await devpi(
        "index", "-c", "alice/pypi", "type=remote", f"remote_url={upstreams['first']}", "volatile=False",
        "remote_refresh_delay=60", "title=First",
    )  # fmt: skip
    with_credentials = upstreams["second"].replace("://", "://reader:secret@")
    await devpi(
        "index", "-c", "alice/second", "type=remote", f"remote_url={with_credentials}",
        "remote_no_project_list=True", "remote_web_url_fmt=https://about.example/{name}",
    )  # fmt: skip
    await devpi("index", "-c", "alice/base", "volatile=False", "acl_upload=alice,bob")
    await devpi("index", "-c", "alice/left", "bases=alice/base")

    dist = place / "dist"
    dist.mkdir()
    long = "# Demo\n" + "a line of the description\n" * 400  # devpi 7 keeps long ones in files
    for built in (
        build_wheel("demo", "1.0", requires_python=">=3.8", description=long),
        build_sdist("demo", "1.0", requires_python=">=3.8", description=long),
        build_wheel("Odd.Name", "2.0rc1"),
        build_wheel("six", "0.1"),
        build_wheel("clash", "1.0"),
    ):
        (dist / built.filename).write_bytes(built.data)
    (dist / "demo-0.9.zip").write_bytes(sdist_zip("demo", "0.9"))
    (dist / "demo-1.0.doc.zip").write_bytes(docs_zip("<h1>demo 1.0</h1>"))
    await devpi("use", "alice/base")
    await devpi("upload", "--from-dir", dist)
    await devpi("use", "alice/left")
    for built in (build_wheel("demo", "1.1", description="first"), build_wheel("demo", "1.1", description="second")):
        (place / built.filename).write_bytes(built.data)
        await devpi("upload", place / built.filename)  # the second overwrites the first
    (place / "gone-1.0-py3-none-any.whl").write_bytes(build_wheel("gone", "1.0").data)
    await devpi("upload", place / "gone-1.0-py3-none-any.whl")
    await devpi("remove", "-y", "gone")

    await devpi("login", "bob", "--password", PASSWORDS["bob"])
    await devpi("use", "alice/base")
    await devpi("push", "demo==1.0", "bob/right")
    other = place / "clash-1.0-py3-none-any.whl"
    other.write_bytes(build_wheel("clash", "1.0", description="other bytes").data)
    await devpi("use", "bob/right")
    await devpi("upload", other)
    await devpi("index", "bob/right", "bases=alice/base")
    await devpi("index", "-c", "bob/top", "bases=alice/left,bob/right,alice/pypi")
    await devpi(
        "index", "-c", "bob/open", "bases=alice/left,bob/right,alice/pypi", "project_inheritance_rules=allow all"
    )
    await devpi(
        "index", "-c", "bob/trusting", "bases=alice/left,alice/pypi", "trust_inheritance_rules_from=type:not remote"
    )
    await devpi("index", "-c", "bob/named", "bases=alice/left,alice/pypi")
    await devpi("index", "-c", "bob/both", "bases=alice/pypi,alice/second")
    async with aiohttp.ClientSession() as session:
        for path, user in (("alice/base/six", "alice"), ("bob/named/demo", "bob")):
            credentials = b64encode(f"{user}:{PASSWORDS[user]}".encode()).decode()
            headers = {"Accept": "application/json", "X-Devpi-Auth": credentials}
            rules = {"inheritance_rules": ["allow all"]}
            async with session.patch(f"{url}/{path}", json=rules, headers=headers) as answer:
                assert answer.status == 200, await answer.text()
        told = await document(session, f"{url}/alice/base/demo/1.0")
        tested = next(link["href"] for link in told["result"]["+links"] if link["href"].endswith(".whl"))
        async with session.post(tested, json={"testenvs": {}}) as answer:
            assert answer.status == 200


async def seen(url: str) -> Seen:
    """What is compared: every page, and what each hosted index says of its versions."""
    indexes = (*HOSTED, "alice/pypi")
    found = await look(url, indexes, PROJECTS, files_of=indexes)
    # Of what a remote without a list of projects lacks devpi 7.0.0b4 says 502, here it is 404.
    second = await look(url, ("alice/second",), ("six",), files_of=("alice/second",))
    hosted = {name: told for name, told in found.documents.items() if name.startswith(HOSTED)}
    for told in hosted.values():
        for version in told.values():  # links of devpi 7 have no hash_spec
            version["+links"] = [(rel, href, about, log) for rel, href, _, about, log in version["+links"]]
    return Seen(pages=found.pages | second.pages, documents=hosted, files=found.files | second.files)


async def options(url: str) -> dict[str, Any]:
    """The options of every index, under devpi 7's names."""
    async with aiohttp.ClientSession() as session:
        return {
            index: (await document(session, f"{url}/{index}?no_projects=&v=2"))["result"]
            for index in (*HOSTED, *REMOTES)
        }


async def export(commands: Path, data: Path, dump: Path) -> None:
    exported = await run(commands / "devpi-export", "--serverdir", data, "--include-mirrored-files", dump)
    assert exported.status == 0, exported.output


async def start(commands: Path, data: Path) -> None:
    """Make the data directory of a new server, with devpi's own defaults except `root/pypi`."""
    made = await run(commands / "devpi-init", "--serverdir", data, "--no-root-pypi")
    assert made.status == 0, made.output


def recorded(found: Seen) -> dict[str, Any]:
    """What was seen, for a file: bytes by their digest."""
    files = {name: hashlib.sha256(data).hexdigest() for name, data in found.files.items()}
    told: dict[str, Any] = json.loads(json.dumps({"pages": found.pages, "documents": found.documents, "files": files}))
    return told


async def record(commands: Path) -> None:
    """Write `tests/golden/devpi7/dump` and `moved.json` beside it."""
    place = Path(tempfile.mkdtemp(prefix="devpi7-"))
    try:
        await start(commands, place / "data")
        async with ScriptedUpstream() as first, ScriptedUpstream() as second:
            supply(first, second)
            real = {"first": first.url, "second": second.url}
            async with served(commands, place / "data") as url:
                await fill(Client(commands, place), url, real, place)
                before = recorded(await seen(url))
                before["options"] = await options(url)
        await export(commands, place / "data", place / "dump")
        index = (place / "dump" / "dataindex.json").read_text()
        moved = json.dumps(before, indent=1, ensure_ascii=False) + "\n"
        for name, told in real.items():
            for host in (told.split("/")[2],):
                index, moved = (text.replace(host, UPSTREAMS[name].split("/")[2]) for text in (index, moved))
        (place / "dump" / "dataindex.json").write_text(index)
        shutil.rmtree(GOLDEN / "dump", ignore_errors=True)
        shutil.copytree(place / "dump", GOLDEN / "dump")
        (GOLDEN / "moved.json").write_text(moved)
    finally:
        shutil.rmtree(place)


if __name__ == "__main__":
    asyncio.run(record(Path(sys.argv[1])))
