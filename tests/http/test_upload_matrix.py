"""The matrix of uploads under both rules, and that its forms are those of the real clients.

devpi's form is that of its transcripts (`golden/devpi/uploads.json`): what the metadata says, and no digest.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiohttp import BodyPartReader, web

from tests.clients.running import executable, run
from tests.conftest import Tally
from tests.http.conftest import Serve, Served, basic
from tests.http.forms import CONTENT_TYPE, encode_form
from tests.http.upload_matrix import AGES, FORMS, KINDS, Cell, cells

HEADERS = {"Content-Type": CONTENT_TYPE.decode(), **basic("root")}


async def listed(served: Served, index: str, cell: Cell) -> dict[str, str]:
    """The files on the project's page, with their digests; nothing when there is no page."""
    headers = {"Accept": "application/vnd.pypi.simple.v1+json"}
    async with served.get(f"/{index}/+simple/{cell.project}/", headers=headers) as answer:
        if answer.status == 404:
            return {}
        return {file["filename"]: file["hashes"]["sha256"] for file in json.loads(await answer.read())["files"]}


@pytest.mark.parametrize("kind", KINDS)
async def test_each_cell_comes_to_what_the_tables_say(serve: Serve, tally: Tally, kind: str) -> None:
    row = [cell for cell in cells() if cell.kind == kind]
    assert len(row) == len(AGES) * len(FORMS)
    wrong = []
    counts: Counter[str] = Counter()
    async with serve() as served:
        for rules in ("lenient", "pypi"):
            index = await served.index(f"root/{rules}", upload_rules=rules, acl_upload=("root",))
            for cell in row:
                body = io.BytesIO(encode_form(cell.parts))
                async with served.request("POST", f"/{index}/", data=body, headers=HEADERS) as answer:
                    status, text = answer.status, await answer.text()
                got = {200: "warned" if text.strip() else "taken", 400: "refused"}.get(status, str(status))
                counts[f"{got} by {rules}"] += 1
                unsaid = [said for said in cell.unusual if said not in text] if got == "warned" else []
                files = {} if got == "refused" else {cell.filename: hashlib.sha256(cell.data).hexdigest()}
                if got != cell.outcome(rules) or unsaid or await listed(served, index, cell) != files:
                    wrong.append(f"{cell.name} by {rules}: {cell.outcome(rules)} expected, {status} {text!r}, {unsaid}")
    for label, count in counts.items():
        tally(f"uploads of the matrix: {label}", count)
    assert not wrong, "\n".join(wrong)


def modern(kind: str, form: str) -> Cell:
    """A cell that the real client sends as it is."""
    return next(cell for cell in cells() if (cell.kind, cell.age, cell.form) == (kind, "2.1", form))


@asynccontextmanager
async def listener() -> AsyncIterator[tuple[str, list[tuple[str, str]]]]:
    """A server that keeps the fields of a form and publishes nothing: its URL, and the fields."""
    heard: list[tuple[str, str]] = []

    async def hear(request: web.Request) -> web.Response:
        async for part in await request.multipart():
            assert isinstance(part, BodyPartReader)
            heard.append((part.name or "", part.filename or await part.text()))
        return web.Response()

    application = web.Application()
    application.router.add_post("/", hear)
    runner = web.AppRunner(application)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        host, port = runner.addresses[0]
        yield f"http://{host}:{port}/", heard
    finally:
        await runner.cleanup()


COMMANDS = {
    "twine": ("twine", "upload", "--non-interactive", "--repository-url"),
    "uv": ("uv", "publish", "--publish-url"),
}


@pytest.mark.parametrize("kind", ["wheel", "sdist"])
@pytest.mark.parametrize("client", COMMANDS)
async def test_the_forms_are_those_of_the_real_clients(tmp_path: Path, client: str, kind: str) -> None:
    (cell,) = (each for each in cells() if (each.kind, each.age, each.form) == (kind, "2.1", client))
    path = tmp_path / cell.filename
    path.write_bytes(cell.data)
    command, *words = COMMANDS[client]
    async with listener() as (url, heard):
        ran = await run(executable(command), *words, url, "-u", "root", "-p", "x", path)
    assert ran.status == 0, ran.output
    wanted = [*cell.fields.items(), ("content", cell.filename)]
    # The order of what the metadata says changes from run to run.
    assert sorted(heard) == sorted(wanted)
    fixed = {":action", "sha256_digest", "blake2_256_digest", "protocol_version", "content"}
    assert [field for field in heard if field[0] in fixed] == [field for field in wanted if field[0] in fixed]
