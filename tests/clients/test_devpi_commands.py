"""Every command of devpi's client in its forms, by one new user: what it prints is what devpi's users are used to."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec
import pytest

from pkgindex_core.testing.wheels import build_sdist, build_wheel, zip_of
from pkgindex_mirror.testing.upstream import ScriptedUpstream
from tests.clients.devpi import Hire, links, settle, told

pytestmark = [pytest.mark.clients, pytest.mark.timeout(300)]


async def test_users_and_indexes(devpi_url: str, hire: Hire, tmp_path: Path) -> None:
    """use, user, passwd, login, logoff, index, getjson, patchjson and --version, with what goes wrong in them."""
    anna = hire("anna")
    await anna.devpi("use", devpi_url)
    await anna.devpi("user", "-c", "anna", "password=secret", "email=anna@example.org")
    refused = await anna.devpi("user", "-c", "anna", "password=x", fails=True)
    told(refused, f"PUT {devpi_url}/anna", "409 Conflict: user already exists")
    refused = await anna.devpi("user", "-c", "a b", "password=x", fails=True)
    told(refused, f"PUT {devpi_url}/a%20b", "400 Bad Request: ")
    refused = await anna.devpi("login", "anna", "--password=wrong", fails=True)
    told(refused, f"POST {devpi_url}/+login", "401 Unauthorized: user 'anna' could not be authenticated")
    await anna.devpi("login", "anna", "--password=secret")

    # The user: shown, changed, with a new password.
    assert (await anna.devpi("user", "-l")).split() == ["anna", "root"]
    told(await anna.devpi("user"), f"{devpi_url}/anna:", "  created=2", "  email=anna@example.org")
    said = await anna.devpi("user", "-m", "anna", "title=Tester", "email=a@example.org")
    told(said, "/anna changing email: a@example.org", "/anna changing title: Tester", "user modified: anna")
    told(await anna.devpi("user", "anna"), "  email=a@example.org", "  modified=2", "  title=Tester")
    said = await anna.devpi("passwd", "anna", typed="changed-it\nchanged-it\n")
    told(said, "user modified: anna")
    await anna.devpi("login", "anna", "--password=changed-it")
    refused = await anna.devpi("user", "-m", "root", "title=mine", fails=True)
    told(refused, f"PATCH {devpi_url}/root", "403 Forbidden: ")

    # An index: made, shown, changed by =, += and -=.
    await anna.devpi("index", "-c", "dev", "bases=root/pypi")
    await anna.devpi("use", "anna/dev")
    told(await anna.devpi("index"), f"{devpi_url}/anna/dev:", "  type=stage", "  bases=root/pypi", "  volatile=True")
    assert (await anna.devpi("index", "-l")).split() == ["anna/dev"]
    said = await anna.devpi(
        "index", "dev", "acl_upload+=root", "title=My", "volatile=False", "mirror_whitelist=Six,idna"
    )
    told(
        said,
        "/anna/dev acl_upload+=root",
        "/anna/dev title=My",
        "/anna/dev volatile=False",
        f"{devpi_url}/anna/dev?no_projects=:",
        "  volatile=False",
        "  acl_upload=anna,root",
        "  mirror_whitelist=six,idna",
        "  title=My",
    )
    said = await anna.devpi("index", "dev", "acl_upload-=root", "title-=", "mirror_whitelist-=six")
    told(said, "/anna/dev title-=", "  acl_upload=anna", "  mirror_whitelist=idna")
    assert "  title=" not in said
    for change, complaint in {
        "foo=bar": "400 Bad Request: indexconfig got unexpected keyword arguments: foo=bar",
        "acl_upload-=carol": "400 Bad Request: The 'acl_upload' setting doesn't have value 'carol'",
        "bases=anna/nope": "400 Bad Request: base index 'anna/nope' does not exist",
        "volatile-=": "400 Bad Request: Default values can't be removed.",
    }.items():
        told(await anna.devpi("index", "dev", change, fails=True), f"PATCH {devpi_url}/anna/dev", complaint)
    refused = await anna.devpi("index", "-c", "dev", fails=True)
    told(refused, "409 Conflict: index 'anna/dev' exists")
    refused = await anna.devpi("index", "-y", "--delete", "dev", fails=True)
    told(refused, "403 Forbidden: index anna/dev non-volatile, cannot delete")
    await anna.devpi("index", "-c", "tmp")
    told(await anna.devpi("index", "-y", "--delete", "tmp"), f"index deleted: {devpi_url}/anna/tmp")
    said = await anna.devpi("index", "-c", "cache", "type=mirror", f"mirror_url={devpi_url}/root/pypi/+simple/")
    told(said, "  type=mirror", f"  mirror_url={devpi_url}/root/pypi/+simple/")

    # Where one is, and what there is.
    told(
        await anna.devpi("use", "--urls"),
        f"current devpi index: {devpi_url}/anna/dev (logged in as anna)",
        f"login: {devpi_url}/+login",
        f"pypisubmit: {devpi_url}/anna/dev/",
        f"simpleindex: {devpi_url}/anna/dev/+simple/",
    )
    lines = [line.split() for line in (await anna.devpi("use", "-l")).splitlines() if "/" in line]
    assert ["anna/dev", "bases=root/pypi", "volatile=False"] in lines
    assert ["root/pypi", "bases=", "volatile=False"] in lines
    assert "\nroot/pypi " not in await anna.devpi("use", "-l", "-u", "anna")
    refused = await anna.devpi("use", "anna/nope", fails=True)
    told(refused, f"GET {devpi_url}/anna/nope/+api", "404 Not Found: The stage anna/nope could not be found.")

    # Documents, raw.
    assert (await anna.getjson("/anna/dev"))["projects"] == []
    told(await anna.devpi("getjson", "-v", "/+api"), f"GET REQUEST sent to {devpi_url}/+api", "X-DEVPI-API-VERSION: 2")
    patch = tmp_path / "patch.json"
    patch.write_text('{"title": "by patchjson"}')
    told(
        await anna.devpi("patchjson", "/anna/dev", patch),
        f"PATCH REQUEST sent to {devpi_url}/anna/dev",
        '"by patchjson"',
    )
    document = await anna.getjson("/anna/dev")
    patch.write_text(msgspec.json.encode({"type": "indexconfig", "result": document | {"title": "whole"}}).decode())
    told(await anna.devpi("patchjson", "/anna/dev", patch), '"title": "whole"')
    told(await anna.devpi("--version"), "devpi-client 7.", f"current devpi server: {devpi_url}/")

    # And out again.
    told(await anna.devpi("logoff"), "login information deleted")
    told(await anna.devpi("logoff"), "not logged in")
    refused = await anna.devpi("index", "anna/dev", "title=X", fails=True)
    told(refused, "you need to be logged in (use 'devpi login USER')")
    await anna.devpi("login", "anna", "--password=changed-it")
    refused = await anna.devpi("user", "-y", "--delete", "anna", fails=True)
    told(refused, "403 Forbidden: user 'anna' has non-volatile index: dev")
    await anna.devpi("index", "dev", "volatile=True")
    told(await anna.devpi("user", "-y", "--delete", "anna"), "user deleted: anna")
    told(await anna.devpi("use", "--delete"), "REMOVED configuration at")


@pytest.mark.skipif("PKGINDEX_TEST_DEVPI" in os.environ, reason="devpi gives a name up with its last version")
async def test_a_name_is_given_up_at_the_url_of_its_project(devpi_url: str, hire: Hire, tmp_path: Path) -> None:
    """A project without versions is nothing to remove for devpi's client; a URL it deletes as it is."""
    anna = await settle(hire("anna"), devpi_url, bases="")
    built = build_wheel("acme-tool", "1.0")
    (tmp_path / built.filename).write_bytes(built.data)
    await anna.devpi("upload", tmp_path / built.filename)
    await anna.devpi("index", "dev", "volatile=False")
    await anna.devpi("remove", "-y", "-f", "acme-tool==1.0")
    assert (await anna.devpi("list")).split() == ["acme-tool"]
    refused = await anna.devpi("remove", "-y", "-f", "acme-tool", fails=True)
    told(refused, "No releases or distributions found matching 'acme-tool'.")
    project = f"{devpi_url}/anna/dev/acme-tool"
    refused = await anna.devpi("remove", "-y", project, fails=True)
    told(refused, "403 Forbidden: project 'acme-tool' is on non-volatile index anna/dev")
    told(await anna.devpi("remove", "-y", "-f", project), "About to remove the following file:", project)
    assert (await anna.devpi("list")).split() == []


async def test_releases(devpi_url: str, hire: Hire, upstream: ScriptedUpstream, tmp_path: Path) -> None:
    """upload, list, push, remove and refresh in all their forms."""
    anna = await settle(hire("anna"), devpi_url)
    dist = tmp_path / "dist"
    dist.mkdir()
    wheels = [build_wheel("acme-tool", version) for version in ("1.0", "1.1", "2.0a1")]
    for built in (*wheels, build_sdist("acme-tool", "1.0"), build_wheel("acme-lib", "2.0")):
        (dist / built.filename).write_bytes(built.data)
    (dist / "acme-tool-1.0.doc.zip").write_bytes(zip_of({"index.html": b"<h1>acme-tool</h1>"}))

    # Up: one file, a directory, documentation among it.
    said = await anna.devpi("upload", dist / wheels[0].filename)
    assert said == f"file_upload of {wheels[0].filename} to {devpi_url}/anna/dev/\n"
    said = await anna.devpi("upload", "--from-dir", dist)
    told(said, "file_upload of acme_tool-2.0a1-py3-none-any.whl to", "doc_upload of acme-tool-1.0.doc.zip to")
    page = await anna.works("curl", "-sSfL", f"{devpi_url}/anna/dev/acme-tool/1.0/+doc/index.html")
    told(page, "<h1>acme-tool</h1>")
    await anna.devpi("index", "-c", "prod", "bases=anna/dev", "volatile=False")
    await anna.devpi("index", "-c", "other")

    # Listed: projects, versions, files; by specifier; what bases have.
    assert (await anna.devpi("list")).split() == ["acme-lib", "acme-tool"]
    assert (await anna.devpi("list", "-v")).split() == ["acme-lib==2.0", "acme-tool==2.0a1"]
    assert links(await anna.devpi("list", "acme-tool<1.1")) == [
        "acme_tool-1.0-py3-none-any.whl",
        "acme_tool-1.0.tar.gz",
    ]
    assert len(links(await anna.devpi("list", "--all", "acme-tool"))) == 4
    await anna.devpi("use", "anna/prod")
    told(await anna.devpi("list", "acme-lib"), f"{devpi_url}/anna/dev/+f/")
    refused = await anna.devpi("list", "--ignore-bases", "acme-lib", fails=True)
    told(refused, f"GET {devpi_url}/anna/prod/acme-lib/?ignore_bases=", "404 Not Found: no project 'acme-lib'")
    refused = await anna.devpi("list", "no-such-project", fails=True)
    told(refused, f"GET {devpi_url}/anna/prod/no-such-project/", "404 Not Found: no project 'no-such-project'")
    assert links(await anna.devpi("list", "--index", "root/pypi", "six")) == ["six-1.17.0-py2.py3-none-any.whl"]

    # Promoted, to an index where it stays.
    await anna.devpi("use", "anna/dev")
    said = await anna.devpi("push", "acme-tool==1.0", "anna/prod")
    told(
        said,
        "200 register acme-tool 1.0 -> anna/prod",
        "200 store_releasefile anna/prod/+f/",
        "200 store_releasefile anna/prod/+f/",
        "200 store_doczip acme-tool 1.0 -> anna/prod",
    )
    for spec, target, complaint in (
        (
            "acme-tool==1.0",
            "anna/prod",
            "409 Conflict: acme_tool-1.0-py3-none-any.whl already exists in non-volatile index",
        ),
        ("acme-tool==7", "anna/prod", "400 Bad Request: there are no files for acme-tool 7 on stage anna/dev"),
        ("acme-tool==1.0", "anna/nope", "404 Not Found: The stage anna/nope could not be found."),
    ):
        told(await anna.devpi("push", spec, target, fails=True), f"PUSH {devpi_url}/anna/dev", complaint)
    told(await anna.devpi("push", "--index", "anna/dev", "acme-lib==2.0", "anna/other"), "200 register acme-lib 2.0 ->")
    said = await anna.devpi("push", "--no-docs", "acme-tool==1.0", "anna/other")
    assert "store_doczip" not in said
    said = await anna.devpi("push", "--only-docs", "acme-tool==1.0", "anna/other")
    told(said, "200 store_doczip acme-tool 1.0 -> anna/other")
    assert "store_releasefile" not in said

    # Away: by version, by specifier, a whole project, one file; where it stays, only by force.
    said = await anna.devpi("remove", "-y", "acme-tool>1.0")
    told(said, "version: 1.1", "deleting release 1.1 of acme-tool")
    told(await anna.devpi("remove", "-y", "--index", "anna/other", "acme-lib==2.0"), "deleting release 2.0 of acme-lib")
    await anna.devpi("remove", "-y", "acme-lib")
    assert (await anna.devpi("list")).split() == ["acme-tool"]
    refused = await anna.devpi("remove", "-y", "no-such-project", fails=True)
    told(refused, "404 Not Found: no project 'no-such-project'")
    await anna.devpi("use", "anna/prod")
    refused = await anna.devpi("remove", "-y", "acme-tool", fails=True)
    told(refused, f"DELETE {devpi_url}/anna/prod/acme-tool/", "403 Forbidden: ")
    refused = await anna.devpi("remove", "-y", "acme-tool==1.0", fails=True)
    told(refused, "403 Forbidden: cannot delete version on non-volatile index")
    (file,) = [
        line.strip()
        for line in (await anna.devpi("list", "acme-tool")).splitlines()
        if f"{devpi_url}/anna/prod/" in line and line.endswith(".whl")
    ]
    refused = await anna.devpi("remove", "-y", file, fails=True)
    told(refused, f"DELETE {file}", "403 Forbidden: cannot delete version on non-volatile index")
    told(await anna.devpi("remove", "-y", "-f", file), "About to remove the following file:", file)
    refused = await anna.devpi("remove", "-y", "-f", file, fails=True)
    told(refused, "410 Gone: ")
    told(await anna.devpi("remove", "-y", "-f", "acme-tool==1.0"), "deleting release 1.0 of acme-tool")
    refused = await anna.devpi("list", "--ignore-bases", "acme-tool")
    assert links(refused) == []

    # Refused uploads say why.
    (dist / "acme_tool-3.0-py3-none-any.whl").write_bytes(b"no wheel")
    told(await anna.devpi("upload", "--index", "root/pypi", dist / wheels[0].filename, fails=True), "root/pypi")
    (dist / wheels[1].filename).write_bytes(build_wheel("acme-tool", "1.1", requires_dist=("six",)).data)

    # A new release upstream is seen at once when asked for.
    await anna.devpi("use", "anna/dev")
    upstream.add("six", build_wheel("six", "9.9"))
    told(await anna.devpi("refresh", "six"), "Refreshed six")
    assert "six-9.9-py3-none-any.whl" in links(await anna.devpi("list", "--index", "root/pypi", "--all", "six"))
