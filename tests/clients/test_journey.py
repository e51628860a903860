"""The main job, with real clients: publish a private wheel, install it with public ones, again without the upstream."""

from __future__ import annotations

from pathlib import Path

import pytest

from pkgindex_core.testing.wheels import build_sdist, build_wheel
from pkgindex_mirror.testing.upstream import ScriptedUpstream
from tests.clients.conftest import Installers, ServerProcess
from tests.clients.running import executable, run

pytestmark = [pytest.mark.clients, pytest.mark.timeout(300)]

EVERYTHING = ["acme_lib-2.0", "acme_tool-1.0", "idna-3.10", "packaging-24.2", "six-1.17.0"]


async def test_publish_install_lock_and_install_again_without_the_upstream(
    server: ServerProcess, upstream: ScriptedUpstream, installers: Installers, tmp_path: Path
) -> None:
    dist = tmp_path / "dist"
    dist.mkdir()
    tool = build_wheel("acme-tool", "1.0", requires_dist=("six>=1.16", "acme-lib>=2"))
    library = build_wheel("acme-lib", "2.0", requires_dist=("idna", "packaging"))
    source = build_sdist("acme-tool", "1.0")
    for built in (tool, library, source):
        (dist / built.filename).write_bytes(built.data)
    simple = f"{server.url}/simple/"

    # Publish: twine the wheel and the sdist, uv the library.
    said = await run(
        executable("twine"), "upload", "--disable-progress-bar", "--repository-url", f"{server.url}/legacy/",
        "-u", "root", "-p", server.password, dist / tool.filename, dist / source.filename,
    )  # fmt: skip
    assert said.status == 0, said.output
    said = await run(
        executable("uv"), "publish", "--publish-url", f"{server.url}/legacy/", "--username", "root",
        "--password", server.password, dist / library.filename,
    )  # fmt: skip
    assert said.status == 0, said.output

    # The same again changes nothing and succeeds; other bytes under the name are refused in words that clients know.
    said = await run(
        executable("uv"), "publish", "--publish-url", f"{server.url}/legacy/", "--username", "root",
        "--password", server.password, dist / library.filename,
    )  # fmt: skip
    assert said.status == 0, said.output
    (dist / library.filename).write_bytes(build_wheel("acme-lib", "2.0", requires_dist=("idna",)).data)
    said = await run(
        executable("twine"), "upload", "--disable-progress-bar", "--repository-url", f"{server.url}/legacy/",
        "-u", "root", "-p", server.password, dist / library.filename,
    )  # fmt: skip
    assert said.status != 0
    assert "File already exists" in said.output

    # Install with every client, private and public together.
    for client in installers.names:
        ran, found = await installers.install(client, simple, "acme-tool")
        assert ran.status == 0, ran.output
        assert found == EVERYTHING
    assert all(upstream.count(upstream_path(upstream, name)) <= 1 for name in ("six", "idna", "packaging"))

    # Lock with hashes, and install the lock.
    wanted = tmp_path / "requirements.in"
    wanted.write_text("acme-tool\n")
    lock = tmp_path / "requirements.txt"
    said = await run(
        executable("uv"),
        "pip",
        "compile",
        "--no-cache",
        "--generate-hashes",
        "--default-index",
        simple,
        wanted,
        "-o",
        lock,
    )
    assert said.status == 0, said.output
    assert tool.sha256 in lock.read_text()

    # The upstream goes away, and the server is killed on top of it.
    await upstream.stop()
    await server.kill()
    await server.start()
    for client in installers.names:
        ran, found = await installers.install(client, simple, "--require-hashes", "-r", lock)
        assert ran.status == 0, ran.output
        assert found == EVERYTHING

    # What was never asked for is unknown now, which is not the same as absent.
    ran, found = await installers.install("uv", simple, "never-asked-for")
    assert ran.status != 0
    assert "503" in ran.output
    assert found == []


async def test_a_private_index_with_a_token(server: ServerProcess, installers: Installers, tmp_path: Path) -> None:
    """A team's index that only the team reads: by password, by token in the URL; nobody else sees that it is there."""
    data = ("--data", str(server.data))
    created = await run(
        "sh",
        "-c",
        f"echo secret-of-anna | {executable('pkgindex-serve')} user create anna --password-stdin --data {server.data}",
    )
    assert created.status == 0, created.output
    said = await run(
        executable("pkgindex-serve"),
        "index",
        "create",
        "anna/private",
        "acl_read=anna",
        "acl_upload=anna",
        "volatile=no",
        *data,
    )
    assert said.status == 0, said.output
    made = await run(
        executable("pkgindex-serve"), "token", "create", "anna", "--index", "anna/private", "--action", "read", *data
    )
    assert made.status == 0, made.output
    token = made.output.strip().splitlines()[-1]
    assert token.startswith("pkgi_")

    built = build_wheel("acme-secret", "1.0")
    (tmp_path / built.filename).write_bytes(built.data)
    upload_url = f"{server.url}/anna/private/"
    refused = await run(
        executable("twine"), "upload", "--disable-progress-bar", "--repository-url", upload_url,
        "-u", "__token__", "-p", token, tmp_path / built.filename,
    )  # fmt: skip
    assert refused.status != 0
    assert "403" in refused.output
    said = await run(
        executable("twine"), "upload", "--disable-progress-bar", "--repository-url", upload_url,
        "-u", "anna", "-p", "secret-of-anna", tmp_path / built.filename,
    )  # fmt: skip
    assert said.status == 0, said.output

    host = server.url.removeprefix("http://")
    for client in installers.names:
        ran, found = await installers.install(
            client, f"http://__token__:{token}@{host}/anna/private/+simple/", "acme-secret"
        )
        assert (ran.status, found) == (0, ["acme_secret-1.0"]), ran.output
        ran, found = await installers.install(client, f"{server.url}/anna/private/+simple/", "acme-secret")
        assert ran.status != 0
        assert found == []
    assert token not in server.log
    assert "secret-of-anna" not in server.log


def upstream_path(upstream: ScriptedUpstream, project: str) -> str:
    """The path of a project's page at the upstream."""
    return f"{upstream.url.removeprefix(upstream.root)}{project}/"
