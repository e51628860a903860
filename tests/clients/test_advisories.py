"""The clients that ask about advisories: `uv audit`, the malware check of `uv sync`, and pip-audit, with this server as the only service."""

import asyncio
import json
import ssl
import sys
from pathlib import Path

import aiohttp
import pytest
import trustme

from tests.clients.conftest import ServerProcess
from tests.clients.running import executable, run
from tests.leading_proxy import ending_tls, leading_to

pytestmark = [pytest.mark.clients, pytest.mark.timeout(300)]

_PYPROJECT = """\
[project]
name = "app"
version = "1"
requires-python = ">=3.11"
dependencies = ["idna==3.10", "six==1.17.0"]

[[tool.uv.index]]
name = "cache"
url = "{url}/simple/"
default = true
"""


def record(identifier: str, project: str, fixed: str) -> str:
    ranges = [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}, {"fixed": fixed}]}]
    affected = [{"package": {"ecosystem": "PyPI", "name": project}, "ranges": ranges}]
    return json.dumps(
        {"id": identifier, "modified": "2026-01-01T00:00:00Z", "summary": f"{project} is bad", "affected": affected}
    )


@pytest.fixture
async def project(server: ServerProcess, tmp_path: Path) -> Path:
    """A locked project of two packages, one of which is vulnerable."""
    place = tmp_path / "project"
    place.mkdir()
    (place / "pyproject.toml").write_text(_PYPROJECT.format(url=server.url))
    await take_in(server, tmp_path, GHSA_1=record("GHSA-1", "idna", "3.11"), GHSA_2=record("GHSA-2", "six", "1.0"))
    locked = await uv(place, "lock")
    assert locked[0] == 0, locked
    return place


async def take_in(server: ServerProcess, place: Path, **records: str) -> None:
    """Take advisories in, and wait until the server has noticed."""
    feed = place / "feed"
    feed.mkdir(exist_ok=True)
    for name, content in records.items():
        (feed / f"{name}.json").write_text(content)
    ran = await run(executable("pkgindex-serve"), "advisory", "update", feed, "--data", server.data)
    assert ran.status == 0, ran.output
    newest = json.loads(list(records.values())[-1])["id"]
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=10)) as client, asyncio.timeout(10):
        while (await client.get(f"{server.url}/+osv/v1/vulns/{newest}")).status != 200:
            await asyncio.sleep(0.05)


async def uv(place: Path, *words: str, **env: str) -> tuple[int, str]:
    """Run uv without a cache: it keeps the answers of such services for some minutes."""
    ran = await run(
        executable("uv"), *words, "--preview", "--no-cache", cwd=place,
        env={"UV_PROJECT_ENVIRONMENT": str(place / "venv"), "UV_PYTHON": sys.executable, **env},
    )  # fmt: skip
    return ran.status, ran.output


async def test_uv_audit_asks_the_index(server: ServerProcess, project: Path) -> None:
    status, said = await uv(project, "audit", "--service-url", f"{server.url}/+osv/")
    assert status == 1, said
    assert "Found 1 known vulnerability and no adverse project statuses in 2 packages" in said
    assert "- GHSA-1: idna is bad" in said
    assert "Fixed in: 3.11" in said


async def test_uv_sync_stops_at_malware(server: ServerProcess, project: Path, tmp_path: Path) -> None:
    checked = {"UV_MALWARE_CHECK": "1", "UV_MALWARE_CHECK_URL": f"{server.url}/+osv/"}
    status, said = await uv(project, "sync", **checked)
    assert status == 0, said
    await take_in(server, tmp_path, MAL_1=record("MAL-2026-1", "six", "2.0"))
    status, said = await uv(project, "sync", **{**checked, "UV_PROJECT_ENVIRONMENT": str(tmp_path / "new")})
    assert status != 0, said
    assert "Malware detected" in said
    assert "MAL-2026-1" in said


@pytest.mark.parametrize("service", ["osv", "pypi"])
async def test_pip_audit_asks_the_index(
    server: ServerProcess, project: Path, tmp_path: Path, tools: Path, service: str
) -> None:
    """`-s pypi` asks PyPI's JSON documents, and no other host can be named."""
    (project / "requirements.txt").write_text("idna==3.10\nsix==1.17.0\n")
    words = [
        tools / "pip-audit", "--no-deps", "--disable-pip", "-r", project / "requirements.txt", "--progress-spinner", "off",
        "--vulnerability-service", service, "--osv-url", f"{server.url}/+osv/v1/query", "--format", "json", "--cache-dir", tmp_path / "cache",
    ]  # fmt: skip
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("pypi.org").configure_cert(context)
    port = int(server.url.rpartition(":")[2])
    async with ending_tls(context, port) as secured, leading_to(secured) as proxy:
        trust = {"HTTPS_PROXY": proxy, "REQUESTS_CA_BUNDLE": str(tmp_path / "ca.pem")}
        ran = await run(*words, env=trust if service == "pypi" else {})
    assert ran.status == 1, ran.output
    found = json.loads(ran.output[ran.output.index("{") : ran.output.rindex("}") + 1])["dependencies"]
    named = {each["name"]: [(one["id"], one["fix_versions"]) for one in each["vulns"]] for each in found}
    assert named == {"idna": [("GHSA-1", ["3.11"])], "six": []}
