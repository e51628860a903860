"""A team with devpi: two people, four indexes in a diamond of inheritance, a cache of PyPI behind them, and promotion.

      root/pypi
          │
      team/base          what everybody builds on
      ╱       ╲
team/stable   ben/dev    releases, and one person's work
      ╲       ╱
      anna/dev           bases=team/stable,ben/dev
"""

from __future__ import annotations

from pathlib import Path
from tempfile import mkdtemp

import pytest

from pkgindex_core.testing.wheels import BuiltFile, build_sdist, build_wheel
from pkgindex_mirror.testing.upstream import ScriptedUpstream
from tests.clients.devpi import Hire, Person, links, settle, told

pytestmark = [pytest.mark.clients, pytest.mark.timeout(300)]


async def test_a_team_with_a_diamond(devpi_url: str, hire: Hire, upstream: ScriptedUpstream, tmp_path: Path) -> None:
    """Everybody sees what the bases have, in their order; only who is named uploads; a private name is never taken from PyPI."""
    upstream.add("acme-lib", build_wheel("acme-lib", "99.0"))  # somebody out there has taken the private name
    dist = tmp_path / "dist"
    dist.mkdir()

    team = await settle(hire("team"), devpi_url, index="base")
    await team.devpi("index", "-c", "stable", "bases=team/base", "volatile=False", "acl_upload=team,anna")
    ben = await settle(hire("ben"), devpi_url, bases="team/base")
    anna = await settle(hire("anna"), devpi_url, bases="team/stable,ben/dev")
    told(await anna.devpi("index"), "  bases=team/stable,ben/dev")
    listed = [line.split()[:2] for line in (await anna.devpi("use", "-l")).splitlines() if "bases=" in line]
    for line in (
        ["anna/dev", "bases=team/stable,ben/dev"],
        ["ben/dev", "bases=team/base"],
        ["team/base", "bases=root/pypi"],
        ["team/stable", "bases=team/base"],
    ):
        assert line in listed

    # Who may upload where. `:AUTHENTICATED:` opens an index to everybody with an account.
    base = _write(dist, build_wheel("acme-lib", "1.0", requires_dist=("idna",)))
    await team.devpi("upload", base)
    refused = await ben.devpi("upload", "--index", "team/base", base, fails=True)
    told(
        refused,
        f"403 FAIL file_upload of {base.name} to {devpi_url}/team/base/",
        f"POST to {devpi_url}/team/base/ FAILED",
    )
    await team.devpi("index", "base", "acl_upload+=:AUTHENTICATED:")
    await ben.devpi("upload", "--index", "team/base", base)
    await team.devpi("index", "base", "acl_upload-=:AUTHENTICATED:")
    refused = await ben.devpi("index", "team/base", "acl_upload+=ben", fails=True)
    told(refused, f"PATCH {devpi_url}/team/base", "403 Forbidden: ")
    refused = await ben.devpi("index", "-c", "team/mine", fails=True)
    told(refused, "403 Forbidden: no permission to create index team/mine")

    # Ben's work shows for Anna, through the diamond, and PyPI's namesake does not.
    await ben.devpi("upload", _write(dist, build_wheel("acme-lib", "1.1.dev1", requires_dist=("idna",))))
    await ben.devpi("upload", _write(dist, build_wheel("acme-app", "0.1", requires_dist=("acme-lib>=1.1.dev0", "six"))))
    files = links(await anna.devpi("list", "--all", "acme-lib"))
    assert sorted(files) == ["acme_lib-1.0-py3-none-any.whl", "acme_lib-1.1.dev1-py3-none-any.whl"]
    said = await _install(anna, f"{devpi_url}/anna/dev/+simple/", "--prerelease=allow", "acme-app")
    told(said, "+ acme-app==0.1", "+ acme-lib==1.1.dev1", "+ idna==3.10", "+ six==1.17.0")

    # Unless the index that is asked vouches for it.
    await anna.devpi("index", "dev", "mirror_whitelist+=acme-lib")
    assert "acme_lib-99.0-py3-none-any.whl" in links(await anna.devpi("list", "--all", "acme-lib"))
    await anna.devpi("index", "dev", "mirror_whitelist-=acme-lib")
    assert "acme_lib-99.0-py3-none-any.whl" not in links(await anna.devpi("list", "--all", "acme-lib"))

    # A release is cut: Ben uploads, Anna promotes what he made, and it is for good.
    released = [build_wheel("acme-lib", "1.1", requires_dist=("idna",)), build_sdist("acme-lib", "1.1")]
    for built in released:
        await ben.devpi("upload", _write(dist, built))
    refused = await ben.devpi("push", "acme-lib==1.1", "team/stable", fails=True)
    told(refused, f"PUSH {devpi_url}/ben/dev", "401 Unauthorized: user 'ben' cannot upload to 'team/stable'")
    said = await anna.devpi("push", "--index", "ben/dev", "acme-lib==1.1", "team/stable")
    assert said.count("200 store_releasefile team/stable/+f/") == 2
    document = await anna.getjson("/team/stable/acme-lib/1.1")
    assert [(entry["what"], entry["who"]) for entry in document["+links"][0]["log"]] == [
        ("upload", "ben"),
        ("push", "anna"),
    ]
    assert (document["+links"][0]["log"][1]["src"], document["+links"][0]["log"][1]["dst"]) == (
        "ben/dev",
        "team/stable",
    )
    refused = await anna.devpi("remove", "-y", "--index", "team/stable", "acme-lib==1.1", fails=True)
    told(refused, "403 Forbidden: cannot delete version on non-volatile index")

    # Both bases have it now; the one that is named first is taken, and what lies in the shadow is told.
    (version,) = [one for one in (await anna.getjson("/anna/dev/acme-lib")).items() if one[0] == "1.1"]
    assert all("/team/stable/+f/" in link["href"] for link in version[1]["+links"])
    assert all("/ben/dev/+f/" in link["href"] for link in version[1]["+shadowing"][0]["+links"])
    said = await _install(ben, f"{devpi_url}/team/stable/+simple/", "acme-lib")
    told(said, "+ acme-lib==1.1", "+ idna==3.10")

    # An index goes; what was built on it still works with what is left.
    await ben.devpi("index", "-y", "--delete", "dev")
    files = links(await anna.devpi("list", "--all", "acme-lib"))
    assert sorted(files) == ["acme_lib-1.0-py3-none-any.whl", "acme_lib-1.1-py3-none-any.whl", "acme_lib-1.1.tar.gz"]
    refused = await team.devpi("user", "-y", "--delete", "team", fails=True)
    told(refused, "403 Forbidden: user 'team' has non-volatile index: stable")


def _write(directory: Path, built: BuiltFile) -> Path:
    path = directory / built.filename
    path.write_bytes(built.data)
    return path


async def _install(person: Person, index: str, *words: str) -> str:
    place = mkdtemp(dir=person.home)
    return await person.uv("pip", "install", "--no-cache", "--target", place, "--default-index", index, *words)
