"""A project of one's own with devpi: built and uploaded from its checkout, tested with tox, installed, pushed to another server."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.clients.conftest import ServerProcess
from tests.clients.devpi import Hire, settle, told

pytestmark = [pytest.mark.clients, pytest.mark.timeout(300)]

_PYPROJECT = """\
[build-system]
requires = ["setuptools"]
build-backend = "setuptools.build_meta"

[project]
name = "acme-app"
version = "1.0"
description = "An application"
requires-python = ">=3.11"
dependencies = ["six"]

[tool.setuptools]
py-modules = ["acme_app"]

[tool.devpi.upload]
sdist = true
wheel = true
no-isolation = true
"""
_TOX = """\
[tox]
envlist = py
[testenv]
commands = python -c "import acme_app, six; assert acme_app.answer() == {answer}"
"""


async def test_build_upload_test_install_and_push(
    devpi_url: str, another_server: ServerProcess, hire: Hire, tmp_path: Path
) -> None:
    """`devpi upload` in a checkout, `devpi test` with tox and its results, `devpi install`, `devpi push … pypi:…`."""
    anna = await settle(hire("anna"), devpi_url)
    checkout = tmp_path / "acme-app"
    checkout.mkdir()
    (checkout / "pyproject.toml").write_text(_PYPROJECT)
    (checkout / "acme_app.py").write_text("def answer():\n    return 42\n")
    (checkout / "tox.ini").write_text(_TOX.format(answer=42))
    (checkout / "MANIFEST.in").write_text("include tox.ini\n")
    await anna.works("git", "init", "--quiet", cwd=checkout)
    await anna.works("git", "add", ".", cwd=checkout)

    # Built from what git knows, and uploaded.
    said = await anna.devpi("upload", cwd=checkout)
    told(
        said,
        f"file_upload of acme_app-1.0-py3-none-any.whl to {devpi_url}/anna/dev/",
        "file_upload of acme_app-1.0.tar.gz to",
    )
    version = await anna.getjson("/anna/dev/acme-app/1.0")
    assert version["summary"] == "An application"
    assert version["requires_python"] == ">=3.11"
    assert version["requires_dist"] == ["six"]

    # Tested: what it would test; a test that passes; the result is kept with the file and shown.
    told(await anna.devpi("test", "--list", "acme-app"), "would test:", f"{devpi_url}/anna/dev/+f/")
    said = await anna.devpi("test", "acme-app")
    told(said, "received", "unpacking", "posting tox result data to", "success")
    version = await anna.getjson("/anna/dev/acme-app/1.0")
    (result,) = [link for link in version["+links"] if link["rel"] == "toxresult"]
    assert result["for_href"].endswith("/acme_app-1.0.tar.gz")
    told(await anna.devpi("list", "-t", "acme-app"), "acme_app-1.0.tar.gz", "tests passed")

    # A test that fails is a result, too.
    (checkout / "tox.ini").write_text(_TOX.format(answer=41))
    (checkout / "pyproject.toml").write_text(_PYPROJECT.replace('version = "1.0"', 'version = "1.1"'))
    await anna.works("git", "add", ".", cwd=checkout)
    await anna.devpi("upload", "--sdist", cwd=checkout)
    told(
        await anna.devpi("test", "acme-app==1.1", fails=True),
        "posting tox result data to",
        "success",
        "tox command failed",
    )
    told(
        await anna.devpi("list", "-f", "acme-app==1.1"),
        "acme_app-1.1.tar.gz",
        "tests failed",
        "FAIL: ",
    )

    # Installed.
    venv = tmp_path / "venv"
    await anna.works(sys.executable, "-m", "venv", venv)
    told(await anna.devpi("install", "--venv", venv, "acme-app==1.0"), "Successfully installed acme-app-1.0 six-1.17.0")

    # A release goes on to another repository, by .pypirc: files and all.
    pypirc = anna.home / ".pypirc"
    pypirc.write_text(
        "[distutils]\nindex-servers = other\n"
        f"[other]\nrepository = {another_server.url}/legacy/\nusername = root\npassword = {another_server.password}\n"
    )
    said = await anna.devpi("push", "acme-app==1.0", "pypi:other")
    told(said, "200 upload anna/dev/+f/", "200 upload anna/dev/+f/")
    page = await anna.works("curl", "-sSf", f"{another_server.url}/simple/acme-app/")
    told(page, "acme_app-1.0-py3-none-any.whl#sha256=", "acme_app-1.0.tar.gz#sha256=")
    pypirc.write_text(pypirc.read_text().replace(another_server.password, "wrong"))
    refused = await anna.devpi("push", "acme-app==1.0", "pypi:other", fails=True)
    told(refused, "401 upload anna/dev/+f/")
    assert another_server.password not in said + refused
