"""An index that only its team reads, with the credentials that people have: uv, pip and twine, each in its own ways.

A public project has the private one's name, in a higher version: it is never taken in its place, by whoever may see the private one
and by nobody else who asks an index that inherits from it.
"""

from __future__ import annotations

import tomllib
from pathlib import Path
from tempfile import mkdtemp

import pytest

from pkgindex_core.testing.wheels import build_wheel
from pkgindex_mirror.testing.upstream import ScriptedUpstream
from tests.clients.conftest import ServerProcess
from tests.clients.devpi import Hire, Person, told
from tests.clients.running import executable, run

pytestmark = [pytest.mark.clients, pytest.mark.timeout(300)]

_PYPROJECT = """\
[project]
name = "service"
version = "1"
requires-python = ">=3.11"
dependencies = ["acme-secret", "six"]

[[tool.uv.index]]
name = "team"
url = "{url}/anna/private/+simple/"
default = true
"""


@pytest.fixture
async def token(server: ServerProcess, upstream: ScriptedUpstream) -> str:
    """A server with a private index of anna's, an account for ben, an index of ben's that inherits from it; a token that reads."""
    upstream.add("acme-secret", build_wheel("acme-secret", "99.0"))
    for name in ("anna", "ben"):
        await _serve(server, "user", "create", name, "--password-stdin", typed=f"secret-of-{name}\n")
    await _serve(
        server, "index", "create", "anna/private", "bases=root/pypi", "acl_read=anna", "acl_upload=anna", "volatile=no"
    )
    await _serve(server, "index", "create", "ben/dev", "bases=anna/private,root/pypi")
    said = await _serve(server, "token", "create", "anna", "--index", "anna/private", "--action", "read")
    return said.strip().splitlines()[-1]


async def _serve(server: ServerProcess, *words: str, typed: str = "") -> str:
    ran = await run(executable("pkgindex-serve"), *words, "--data", server.data, typed=typed)
    assert ran.status == 0, ran.output
    return ran.output


async def test_a_private_index(
    server: ServerProcess, token: str, hire: Hire, pip_environments: dict[str, Path], tmp_path: Path
) -> None:
    """401 with a challenge first, 404 for what one may not see, and every client's way to present what it has."""
    simple = f"{server.url}/anna/private/+simple/"
    anna = hire("anna")

    # twine, by .pypirc.
    built = build_wheel("acme-secret", "1.0", requires_dist=("idna",))
    (tmp_path / built.filename).write_bytes(built.data)
    pypirc = anna.home / ".pypirc"
    pypirc.write_text(
        "[distutils]\nindex-servers = private\n"
        f"[private]\nrepository = {server.url}/anna/private/\nusername = anna\npassword = secret-of-anna\n"
    )
    upload = (executable("twine"), "upload", "--disable-progress-bar", "-r", "private", tmp_path / built.filename)
    await anna.works(*upload)
    pypirc.write_text(pypirc.read_text().replace("secret-of-anna", "wrong"))
    refused = await anna.run(*upload)
    assert refused.status != 0
    told(refused.output, "401")

    # What the wire says: a challenge, and nothing about what there is.
    head = await anna.works("curl", "-sSi", simple)
    told(head, "HTTP/1.1 401", "WWW-Authenticate: Basic realm=")
    assert "acme" not in head
    for path in ("acme-secret/", "never-there/"):
        told(await anna.works("curl", "-sSi", f"{simple}{path}"), "HTTP/1.1 401")
        told(await anna.works("curl", "-sSi", "-u", "ben:secret-of-ben", f"{simple}{path}"), "HTTP/1.1 404")
    told(await anna.works("curl", "-sSi", "-u", "ben:wrong", simple), "HTTP/1.1 401", "WWW-Authenticate: Basic realm=")

    # uv in a project: by variables, with a password and with a token, and by netrc.
    (tmp_path / "pyproject.toml").write_text(_PYPROJECT.format(url=server.url))
    netrc = anna.home / "netrc"
    netrc.write_text("machine 127.0.0.1\nlogin anna\npassword secret-of-anna\n")
    netrc.chmod(0o600)
    for variables in (
        {"UV_INDEX_TEAM_USERNAME": "anna", "UV_INDEX_TEAM_PASSWORD": "secret-of-anna"},
        {"UV_INDEX_TEAM_USERNAME": "__token__", "UV_INDEX_TEAM_PASSWORD": token},
        {"UV_INDEX_TEAM_USERNAME": "anna", "UV_INDEX_TEAM_PASSWORD": token},
        {"NETRC": str(netrc)},
    ):
        project = _fresh(anna, tmp_path / "pyproject.toml")
        await anna.uv("lock", "--no-cache", cwd=project, **variables)
        locked = {each["name"]: each["version"] for each in tomllib.loads((project / "uv.lock").read_text())["package"]}
        assert locked == {"service": "1", "acme-secret": "1.0", "idna": "3.10", "six": "1.17.0"}
        assert token not in (project / "uv.lock").read_text()
        told(await anna.uv("sync", "--no-cache", cwd=project, **variables), "+ acme-secret==1.0", "+ six==1.17.0")
    for variables in ({}, {"UV_INDEX_TEAM_USERNAME": "ben", "UV_INDEX_TEAM_PASSWORD": "secret-of-ben"}):
        project = _fresh(anna, tmp_path / "pyproject.toml")
        refused = await anna.run(executable("uv"), "lock", "--no-cache", cwd=project, **variables)
        assert refused.status != 0
        assert "99.0" not in refused.output

    # pip: credentials in the URL (password or token), and netrc.
    host = server.url.removeprefix("http://")
    pip = (pip_environments["pip"], "-m", "pip", "install", "--no-cache-dir", "--no-input", "--index-url")
    for credentials, variables in (
        ("anna:secret-of-anna@", {}),
        (f"__token__:{token}@", {}),
        ("", {"NETRC": str(netrc)}),
    ):
        target = mkdtemp(dir=tmp_path)
        url = f"http://{credentials}{host}/anna/private/+simple/"
        said = await anna.works(*pip, url, "--target", target, "acme-secret", **variables)
        told(said, "Successfully installed acme-secret-1.0 idna-3.10")
        assert token not in said
    for credentials in ("", "ben:secret-of-ben@", "anna:wrong@"):
        url = f"http://{credentials}{host}/anna/private/+simple/"
        refused = await anna.run(*pip, url, "--target", tmp_path / "refused", "acme-secret")
        assert refused.status != 0
        assert "99.0" not in refused.output

    # Who inherits from what may not be read: not the private files, and not the public namesake either.
    for credentials in ("", "ben:secret-of-ben@"):
        url = f"http://{credentials}{host}/ben/dev/+simple/"
        said = await anna.works(*pip, url, "--target", tmp_path / f"six-{credentials[:3]}", "six")
        told(said, "Successfully installed six-1.17.0")
        refused = await anna.run(*pip, url, "--target", tmp_path / "refused", "acme-secret")
        assert refused.status != 0
        told(refused.output, "No matching distribution found for acme-secret")
        assert "99.0" not in refused.output
    said = await anna.works(
        *pip, f"http://anna:secret-of-anna@{host}/ben/dev/+simple/", "--target", tmp_path / "seen", "acme-secret"
    )
    told(said, "Successfully installed acme-secret-1.0 idna-3.10")

    # Nothing secret was written down.
    assert not [secret for secret in (token, "secret-of-anna", "secret-of-ben") if secret in server.log]


def _fresh(person: Person, pyproject: Path) -> Path:
    project = Path(mkdtemp(dir=person.home))
    (project / "pyproject.toml").write_text(pyproject.read_text())
    return project
