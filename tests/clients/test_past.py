"""A lock that is made again from the index as it was: uv and pip."""

from __future__ import annotations

from pathlib import Path

import pytest

from pkgindex_core.testing.wheels import BuiltFile, build_wheel
from tests.clients.conftest import Installers, ServerProcess
from tests.clients.running import Ran, executable, run

pytestmark = [pytest.mark.clients, pytest.mark.timeout(300)]


async def test_what_was_locked_is_locked_again(server: ServerProcess, installers: Installers, tmp_path: Path) -> None:
    async def publish(*built: BuiltFile) -> None:
        for each in built:
            (tmp_path / each.filename).write_bytes(each.data)
        sent = await run(
            executable("twine"), "upload", "--non-interactive", "--repository-url", f"{server.url}/legacy/", "-u", "root",
            "-p", server.password, *(tmp_path / each.filename for each in built),
        )  # fmt: skip
        assert sent.status == 0, sent.output

    async def lock(index: str) -> Ran:
        (tmp_path / "wanted.in").write_text("acme-demo\n")
        return await run(
            executable("uv"), "pip", "compile", "--no-cache", "--quiet", "--no-header", "--generate-hashes", "--no-annotate",
            "--default-index", index, tmp_path / "wanted.in",
        )  # fmt: skip

    await publish(build_wheel("acme-part", "1.0"), build_wheel("acme-demo", "1.0", requires_dist=["acme-part"]))
    now = f"{server.url}/root/dev/+simple/"
    asked = await run("curl", "--silent", "--head", f"{now}acme-demo/")
    serial = next(
        line.split()[1] for line in asked.output.splitlines() if line.lower().startswith("x-pypi-last-serial")
    )
    past = f"{server.url}/+at/{serial}/root/dev/+simple/"
    before = await lock(now)
    assert before.status == 0, before.output
    await publish(build_wheel("acme-part", "2.0"), build_wheel("acme-demo", "2.0", requires_dist=["acme-part>=2"]))
    assert "acme-demo==2.0" in (await lock(now)).output
    again = await lock(past)
    assert (again.status, again.output) == (0, before.output)
    for client in installers.names:
        ran, found = await installers.install(client, past, "acme-demo")
        assert (ran.status, found) == (0, ["acme_demo-1.0", "acme_part-1.0"]), ran.output
