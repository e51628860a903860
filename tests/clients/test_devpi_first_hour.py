"""The usual first hour with devpi, word for word: a user, an index, an upload, and installers that are told where to look."""

from __future__ import annotations

import tomllib
from configparser import ConfigParser
from pathlib import Path

import pytest

from pkgindex_core.testing.wheels import build_sdist, build_wheel
from tests.clients.devpi import Hire, told

pytestmark = [pytest.mark.clients, pytest.mark.timeout(300)]


async def test_the_first_hour(devpi_url: str, hire: Hire, pip_environments: dict[str, Path], tmp_path: Path) -> None:
    """From `devpi use URL` to `uv sync`, with nothing set up beforehand and everything found in its own configuration file."""
    anna = hire("anna")
    simple = f"{devpi_url}/anna/dev/+simple/"

    # A server, a user, an index.
    told(await anna.devpi("use", devpi_url), f"using server: {devpi_url}/ (not logged in)", "no current index")
    told(await anna.devpi("user", "-c", "anna", "password=secret", "email=anna@example.org"), "user created: anna")
    told(await anna.devpi("login", "anna", "--password=secret"), "logged in 'anna', credentials valid for 10.00 hours")
    told(
        await anna.devpi("index", "-c", "dev", "bases=root/pypi"),
        f"{devpi_url}/anna/dev?no_projects=:",
        "  type=stage",
        "  bases=root/pypi",
        "  volatile=True",
        "  acl_upload=anna",
        "  acl_toxresult_upload=:ANONYMOUS:",
        "  mirror_whitelist=",
        "  mirror_whitelist_inheritance=intersection",
    )
    told(
        await anna.devpi("use", "anna/dev"),
        f"current devpi index: {devpi_url}/anna/dev (logged in as anna)",
        "supported features: push-no-docs, push-only-docs, push-register-project, server-keyvalue-parsing",
    )

    # What she has built goes up.
    dist = tmp_path / "dist"
    dist.mkdir()
    for built in (
        build_wheel("acme-tool", "1.0", requires_dist=("six>=1.16",)),
        build_sdist("acme-tool", "1.0"),
        build_wheel("acme-tool", "1.1", requires_dist=("six>=1.16", "acme-lib")),
        build_wheel("acme-lib", "2.0", requires_dist=("idna",)),
    ):
        (dist / built.filename).write_bytes(built.data)
    said = await anna.devpi("upload", "--from-dir", "--only-latest", "--dry-run", dist)
    told(said, f"skipped: file_upload of acme_lib-2.0-py3-none-any.whl to {devpi_url}/anna/dev/")
    assert (await anna.getjson("/anna/dev"))["projects"] == []
    said = await anna.devpi("upload", "--from-dir", "--only-latest", dist)
    told(said, "file_upload of acme_lib-2.0-py3-none-any.whl to", "file_upload of acme_tool-1.1-py3-none-any.whl to")
    assert "1.0" not in said
    told(
        await anna.devpi("upload", "--from-dir", dist), f"file_upload of acme_tool-1.0.tar.gz to {devpi_url}/anna/dev/"
    )
    assert (await anna.devpi("list")).split() == ["acme-lib", "acme-tool"]

    # A look with curl.
    told(await anna.works("curl", "-sSf", simple), 'href="acme-lib/"', 'href="acme-tool/"')
    told(await anna.works("curl", "-sSfL", f"{simple}acme-tool"), "acme_tool-1.1-py3-none-any.whl#sha256=")

    # pip, uv, buildout and easy_install are told where to look, each in its own file.
    said = await anna.devpi("use", "--set-cfg", "-t", "yes", "anna/dev")
    files = (".config/pip/pip.conf", ".config/uv/uv.toml", ".pydistutils.cfg", ".buildout/default.cfg")
    told(said, *(f"{anna.home / file}: {simple}" for file in files))
    pip_conf, _, distutils, buildout = (_ini(anna.home / file) for file in files)
    assert pip_conf["global"]["index-url" if "index-url" in pip_conf["global"] else "index_url"] == simple
    assert pip_conf["global"]["trusted-host"] == "127.0.0.1"
    assert tomllib.loads((anna.home / files[1]).read_text())["index-url"] == simple
    assert distutils["easy_install"]["index_url"] == simple
    assert buildout["buildout"]["index"] == simple

    # And they find it: what is private, and what is public behind it.
    venv = tmp_path / "venv"
    await anna.uv("venv", venv)
    said = await anna.uv("pip", "install", "--python", venv, "acme-tool")
    told(said, "+ acme-lib==2.0", "+ acme-tool==1.1", "+ idna==3.10", "+ six==1.17.0")
    target = tmp_path / "target"
    said = await anna.works(pip_environments["pip"], "-m", "pip", "install", "--target", target, "acme-tool==1.0")
    told(said, f"Looking in indexes: {simple}", "Successfully installed acme-tool-1.0 six-1.17.0")

    # A project that names the index as its default one.
    project = tmp_path / "project"
    project.mkdir()
    (project / "pyproject.toml").write_text(
        '[project]\nname = "service"\nversion = "1"\nrequires-python = ">=3.11"\ndependencies = ["acme-tool"]\n'
        f'[[tool.uv.index]]\nname = "team"\nurl = "{simple}"\ndefault = true\n'
    )
    await anna.uv("lock", "--no-cache", cwd=project)
    locked = {each["name"]: each for each in tomllib.loads((project / "uv.lock").read_text())["package"]}
    assert {name: each["version"] for name, each in locked.items() if name != "service"} == {
        "acme-lib": "2.0",
        "acme-tool": "1.1",
        "idna": "3.10",
        "six": "1.17.0",
    }
    assert all(each["source"]["registry"] == simple for name, each in locked.items() if name != "service")
    told(
        await anna.uv("sync", "--no-cache", cwd=project),
        "+ acme-lib==2.0",
        "+ acme-tool==1.1",
        "+ idna==3.10",
        "+ six==1.17.0",
    )


def _ini(path: Path) -> ConfigParser:
    parser = ConfigParser()
    if path.suffix != ".toml":
        parser.read(path)
    return parser
