"""Trusted publishing: who gets a token for what, and what is refused, with the claims in the error. The issuer signs for real."""

from __future__ import annotations

import json
import logging
import time
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from msgspec import Struct

from pkgindex_core.models import Serial
from pkgindex_core.names import IndexName
from pkgindex_core.rules.trusted_publishers import OPTION
from pkgindex_core.testing.wheels import build_wheel
from tests.http.conftest import HOSTED, Serve, Served, basic
from tests.http.forms import CONTENT_TYPE, encode_form, upload_parts
from tests.oidc_issuer import OidcIssuer, oidc_issuer

DEMO = build_wheel("demo", "1.0")
LINE = "demo github:octo/demo//release.yml#pypi"


class Minted(Struct):
    status: int
    document: Any

    @property
    def problem(self) -> tuple[str, str]:
        (error,) = self.document["errors"]
        return error["code"], error["description"]


def issuers(issuer: OidcIssuer, name: str = "github") -> dict[str, Any]:
    shape = name if name in {"github", "gitlab", "google"} else "generic"
    return {"issuers": {name: {"url": issuer.url, "shape": shape}}}


async def trust(served: Served, *lines: str, index: str = HOSTED, **options: Any) -> None:
    await served.index(index, volatile=False, options={OPTION: list(lines)}, **options)


async def mint(served: Served, token: str, **more: Any) -> Minted:
    async with served.request("POST", "/_/oidc/mint-token", json={"token": token, **more}) as answer:
        return Minted(answer.status, json.loads(await answer.read()))


async def upload(served: Served, token: str, path: str = "/legacy/", built: Any = DEMO) -> int:
    headers = {"Content-Type": CONTENT_TYPE.decode(), **basic("__token__", token)}
    async with served.request("POST", path, data=encode_form(upload_parts(built)), headers=headers) as answer:
        return int(answer.status)


async def trusted(served: Served) -> list[str]:
    return [*(await served.engine.store.tree()).indexes[HOSTED].options[OPTION]]


async def test_a_token_uploads_to_its_project_and_the_log_names_ref_and_commit(serve: Serve) -> None:
    async with oidc_issuer() as issuer, serve(**issuers(issuer)) as served:
        # Nobody is in acl_upload; the project does not exist yet.
        await trust(served, LINE, acl_upload=("nobody",))
        await served.index("root/other", acl_upload=("root",))
        async with served.get("/_/oidc/audience") as answer:
            assert json.loads(await answer.read()) == {"audience": "pkgindex"}
        minted = await mint(served, issuer.token())
        assert minted.status == 200
        token = minted.document["token"]
        assert 890 < minted.document["expires"] - time.time() <= 900
        assert await upload(served, token, built=build_wheel("other", "1.0")) == 403
        assert await upload(served, token, "/root/other/") == 403
        async with served.request("DELETE", "/root/dev/demo", headers=basic("__token__", token)) as answer:
            assert answer.status == 403
        assert await upload(served, token) == 200
        head = await served.engine.store.head()
        (commit,) = await served.engine.store.commits(Serial(head - 1), limit=1)
        for part in ("github:octo/demo//release.yml#pypi", "refs/tags/v1.0", issuer.claims["sha"]):
            assert part in commit.who
        file = await served.engine.store.file(HOSTED, "demo", DEMO.filename)  # type: ignore[arg-type]  # a name
        assert file is not None
        assert file.publisher == "github:octo/demo//release.yml#pypi"
        async with served.request("POST", "/_/oidc/burn-token", json={"token": token}) as answer:
            assert answer.status == 200
        assert await upload(served, token, built=build_wheel("demo", "1.1")) == 401


_STRANGE = rsa.generate_private_key(public_exponent=65537, key_size=2048)


@pytest.mark.parametrize(
    ("claims", "code", "said"),
    [
        ({"repository": "octo/fork"}, "invalid-publisher", "repository: expected octo/demo, found octo/fork"),
        (
            {"job_workflow_ref": "octo/demo/.github/workflows/test.yml@refs/heads/x"},
            "invalid-publisher",
            "job_workflow_ref: expected octo/demo/.github/workflows/release.yml@, found octo/demo/.github/workflows/test.yml@",
        ),
        (
            # A workflow of another repository that this one calls.
            {"job_workflow_ref": "evil/x/.github/workflows/release.yml@refs/heads/x"},
            "invalid-publisher",
            "found evil/x/",
        ),
        ({"environment": None}, "invalid-publisher", "environment: expected pypi, found none"),
        ({"aud": "pypi"}, "invalid-token", "aud: expected 'pkgindex', found 'pypi'"),
        ({"iss": "https://evil.example"}, "invalid-token", "found 'https://evil.example'"),
        ({"exp": -60}, "invalid-token", "exp: the token has ended"),
        ({"iat": 600}, "invalid-token", "iat: the token is of the future"),
        ({"nbf": 600}, "invalid-token", "iat: the token is of the future"),
        ({"exp": 200_000}, "invalid-token", "valid for more than 86400 s"),
        ({"exp": None}, "invalid-token", "exp"),
        ({"key": _STRANGE}, "invalid-token", "Signature verification failed"),
        ({"headers": {"kid": "other"}}, "invalid-token", "kid: the issuer github has no key 'other'"),
        ({"key": "s" * 64, "algorithm": "HS256"}, "invalid-token", "alg: expected RS256"),
    ],
    ids=lambda each: "+".join(each) if isinstance(each, dict) else each,  # keys differ between workers
)
async def test_what_does_not_fit_is_told_and_gets_nothing(
    serve: Serve, caplog: pytest.LogCaptureFixture, claims: dict[str, Any], code: str, said: str
) -> None:
    """Times among the claims are seconds from now."""
    now = int(time.time())
    async with oidc_issuer() as issuer, serve(**issuers(issuer)) as served:
        await trust(served, LINE)
        token = issuer.token(
            **{name: now + value if isinstance(value, int) else value for name, value in claims.items()}
        )
        with caplog.at_level(logging.DEBUG):
            minted = await mint(served, token)
        assert (minted.status, minted.problem[0]) == (422, code)
        assert said in minted.problem[1]
        assert token not in caplog.text
        assert not await served.engine.store.tokens("root")


@pytest.mark.parametrize("body", [b"", b"{}", b"[]", b'{"token": 1}', b'{"token": "a.b.c"}', b'{"token": ""}'])
async def test_bodies_that_are_no_question_are_told_in_the_form_that_clients_read(serve: Serve, body: bytes) -> None:
    async with (
        oidc_issuer() as issuer,
        serve(**issuers(issuer)) as served,
        served.request("POST", "/_/oidc/mint-token", data=body) as answer,
    ):
        document = json.loads(await answer.read())
        assert (answer.status, document["message"]) == (422, "Token request failed")
        assert document["errors"][0]["code"] == "invalid-payload"


async def test_a_token_of_an_issuer_is_used_once(serve: Serve) -> None:
    async with oidc_issuer() as issuer, serve(**issuers(issuer)) as served:
        await trust(served, LINE)
        for token in (issuer.token(), issuer.token(jti=None)):
            assert (await mint(served, token)).status == 200
            assert (await mint(served, token)).problem[0] == "invalid-reuse-token"


async def test_ids_are_pinned_by_the_first_token_and_compared_instead_of_names(serve: Serve) -> None:
    async with oidc_issuer() as issuer, serve(**issuers(issuer)) as served:
        await trust(served, LINE)
        assert (await mint(served, issuer.token())).status == 200
        assert await trusted(served) == [f"{LINE} repository_id=1296269 repository_owner_id=583231"]
        renamed = {
            "repository": "octopus/demo",
            "job_workflow_ref": "octopus/demo/.github/workflows/release.yml@refs/heads/main",
        }
        assert (await mint(served, issuer.token(**renamed))).status == 200
        # The name was given away, and somebody else took it.
        taken = await mint(served, issuer.token(repository_id="999", repository_owner_id="998"))
        assert taken.problem[0] == "invalid-publisher"
        assert "repository_id: expected 1296269, found 999" in taken.problem[1]


async def test_gitlab_is_matched_by_project_and_configuration(serve: Serve) -> None:
    claims = {"project_path": "team/demo", "project_id": "7", "namespace_id": "3", "job_project_id": "7", "ref": "main"}
    async with oidc_issuer(claims) as issuer, serve(**issuers(issuer, "gitlab")) as served:
        host = issuer.url.partition("://")[2]
        issuer.claims["ci_config_ref_uri"] = f"{host}/team/demo//.gitlab-ci.yml@refs/heads/main"
        await trust(served, "demo gitlab:team/demo//.gitlab-ci.yml")
        assert (await mint(served, issuer.token())).status == 200
        assert await trusted(served) == ["demo gitlab:team/demo//.gitlab-ci.yml namespace_id=3 project_id=7"]
        other = await mint(served, issuer.token(job_project_id="8"))
        assert "job_project_id: expected 7, found 8" in other.problem[1]
        wrong = await mint(served, issuer.token(ci_config_ref_uri="gitlab.evil/team/demo//.gitlab-ci.yml@x"))
        assert "ci_config_ref_uri: expected" in wrong.problem[1]


async def test_any_issuer_is_matched_by_the_claims_of_the_line(serve: Serve) -> None:
    async with oidc_issuer({"team": "build", "branch": "main"}) as issuer, serve(**issuers(issuer, "acme")) as served:
        await trust(served, "demo acme:team=build,branch=main")
        assert (await mint(served, issuer.token())).status == 200
        assert "branch: expected main, found dev" in (await mint(served, issuer.token(branch="dev"))).problem[1]


async def test_one_token_serves_all_projects_of_the_workflow_but_one_index(serve: Serve) -> None:
    async with oidc_issuer() as issuer, serve(**issuers(issuer)) as served:
        await trust(served, LINE, LINE.replace("demo ", "more ", 1))
        token = (await mint(served, issuer.token())).document["token"]
        assert await upload(served, token) == 200
        assert await upload(served, token, built=build_wheel("more", "1.0")) == 200
        await trust(served, LINE, index="root/two")
        both = await mint(served, issuer.token())
        assert "several indexes: root/dev, root/two" in both.problem[1]
        chosen = await mint(served, issuer.token(), index="root/two")
        assert await upload(served, chosen.document["token"], "/root/two/") == 200
        assert await upload(served, chosen.document["token"], built=build_wheel("demo", "2.0")) == 403


async def test_a_changed_key_is_fetched_and_an_issuer_that_is_down_is_503(serve: Serve) -> None:
    async with oidc_issuer() as issuer, serve(**issuers(issuer)) as served:
        await trust(served, LINE)
        issuer.is_down = True
        down = await mint(served, issuer.token())
        assert (down.status, down.problem[0]) == (503, "unavailable")
        asked = len(issuer.asked)
        assert (await mint(served, issuer.token())).status == 503  # as anybody could say again and again
        assert len(issuer.asked) == asked
        issuer.is_down = False
        served.server._minting._keys._asked["github"] -= 6  # some seconds later
        assert (await mint(served, issuer.token())).status == 200
        assert (await mint(served, issuer.token())).status == 200
        assert issuer.asked.count("/keys") == 1
        keys = served.server._minting._keys
        keys._asked["github"] -= 61  # a minute later
        issuer.is_down = True
        for _ in range(2):
            unknown = await mint(served, issuer.token(headers={"kid": "new"}))
            assert unknown.status == 503, "a key that the issuer may have is not told as absent"
        issuer.is_down = False
        keys._asked["github"] -= 6
        issuer.rotate()
        assert (await mint(served, issuer.token())).status == 200
        issuer.rotate()
        assert (await mint(served, issuer.token())).status == 422  # asked a moment ago
        assert issuer.asked.count("/keys") == 2


async def test_keys_on_another_host_are_not_asked_for(serve: Serve) -> None:
    async with oidc_issuer() as issuer, oidc_issuer() as other, serve(**issuers(issuer)) as served:
        await trust(served, LINE)
        issuer.jwks_uri = f"{other.url}/keys"
        refused = await mint(served, issuer.token())
        assert (refused.status, "another host" in refused.problem[1]) == (503, True)
        assert other.asked == []


async def test_a_server_without_issuers_says_so(serve: Serve) -> None:
    async with serve() as served:
        async with served.get("/_/oidc/audience") as answer:
            assert answer.status == 403
        assert (await mint(served, "x")).problem[0] == "not-enabled"


async def test_what_a_private_index_trusts_is_told_to_its_publishers_only(serve: Serve) -> None:
    async with oidc_issuer() as issuer, serve(**issuers(issuer)) as served:
        await trust(served, LINE, index="root/secret", acl_read=("root",))
        stranger = await mint(served, issuer.token(repository="evil/x", repository_id="1"))
        assert stranger.problem[0] == "invalid-publisher"
        assert not any(word in stranger.problem[1] for word in ("secret", "octo", "pypi"))
        own = await mint(served, issuer.token(environment="test"))
        assert "demo of root/secret: environment: expected pypi, found test" in own.problem[1]


async def test_a_wrong_line_is_refused_with_its_reason(serve: Serve) -> None:
    async with serve() as served:
        for line, said in (("demo", "is no trusted publisher"), ("demo github:octo", "names no repository")):
            body = {OPTION: [line]}
            async with served.request("PATCH", f"/{IndexName(HOSTED)}", json=body, headers=basic("root")) as answer:
                assert (answer.status, said in await answer.text()) == (400, True)
