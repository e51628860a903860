"""`+api` and `+status`: what devpi's client asks first, whoever it asks for."""

from __future__ import annotations

import pytest

from pkgindex_core.clock import Timestamp
from tests.http.conftest import Serve, basic
from tests.http.test_accounts import ROOT, ask

STATUS_KEYS = {
    *("serverdir", "uuid", "versioninfo", "server-code", "host", "port", "outside-url", "serial", "metrics", "role"),
    *("last-commit-timestamp", "event-serial", "event-serial-timestamp", "event-serial-in-sync-at", "polling_replicas"),
}


async def test_api_says_where_things_are(serve: Serve) -> None:
    async with serve() as served:
        anna = await served.user("anna")
        await served.index("anna/up", type="mirror", mirror_url="https://h/")
        _, told = await ask(served, "GET", "/root/dev/+api", who=anna)
        assert told == {
            "result": {
                "login": f"{served.url}/+login",
                "authstatus": ["ok", "anna", []],
                "features": [
                    "push-no-docs",
                    "push-only-docs",
                    "push-register-project",
                    "server-keyvalue-parsing",
                ],
                "index": f"{served.url}/root/dev",
                "simpleindex": f"{served.url}/root/dev/+simple/",
                "pypisubmit": f"{served.url}/root/dev/",
            },
            "type": "apiconfig",
        }
        assert "pypisubmit" not in (await ask(served, "GET", "/anna/up/+api"))[1]["result"]
        for path in ("/+api", "/anna/+api", "/nobody/+api"):
            assert set((await ask(served, "GET", path))[1]["result"]) == {"login", "authstatus", "features"}
        missing = await ask(served, "GET", "/anna/nope/+api")
        assert missing == (404, {"message": "The stage anna/nope could not be found."})


async def test_behind_a_proxy_everything_is_below_the_outside_url(serve: Serve) -> None:
    async with serve(outside_url="https://pkgs.example.test/prefix") as served:
        told = (await ask(served, "GET", "/root/dev/+api"))[1]["result"]
        places = [told[key] for key in ("login", "index", "simpleindex", "pypisubmit")]
        assert all(place.startswith("https://pkgs.example.test/prefix/") for place in places)


@pytest.mark.parametrize(
    "headers",
    [{}, basic("root", "wrong"), basic("nobody"), {"X-Devpi-Auth": "!!"}, {"Authorization": "Odd x"}],
)
async def test_credentials_that_are_none_still_find_the_log_in(serve: Serve, headers: dict[str, str]) -> None:
    """A client whose log-in has ended finds out by `noauth`; a 401 would be a broken server to it."""
    async with serve() as served:
        await served.user("anna")
        await served.index("anna/private", acl_read=("anna",))
        for path in ("/+api", "/root/dev/+api", "/anna/private/+api"):
            status, told = await ask(served, "GET", path, who=headers)
            assert (status, told["result"]["authstatus"]) == (200, ["noauth", "", []])


async def test_a_log_in_that_has_expired_is_noauth(serve: Serve) -> None:
    async with serve() as served:
        await served.user("anna")
        text, _ = await served.engine.tokens.make("anna", who="anna", kind="login", seconds=-1)
        _, told = await ask(served, "GET", "/+api", who=basic("anna", text))
        assert told["result"]["authstatus"][0] == "noauth"


async def test_with_credentials_that_do_not_suffice_a_private_index_is_missing(serve: Serve) -> None:
    async with serve() as served:
        ben = await served.user("ben")
        await served.user("anna")
        await served.index("anna/private", acl_read=("anna",))
        hidden = await ask(served, "GET", "/anna/private/+api", who=ben)
        none = await ask(served, "GET", "/anna/nothing/+api", who=ben)
        assert hidden[0] == none[0] == 404
        assert str(hidden[1]).replace("private", "nothing") == str(none[1])


async def test_status_tells_where_things_lie_only_to_root(serve: Serve) -> None:
    async with serve() as served:
        anna = await served.user("anna")
        place = str(served.engine.settings.data)
        for who in ({}, anna):
            status, told = await ask(served, "GET", "/+status", who=who)
            assert (status, told["type"], set(told["result"])) == (200, "status", STATUS_KEYS)
            assert place not in str(told)
            assert "/" not in str(told["result"])
        told = (await ask(served, "GET", "/+status", who=ROOT))[1]["result"]
        assert told["serverdir"] == place
        assert told["serial"] == told["event-serial"] == await served.engine.store.head()
        assert "pkgindex" in told["versioninfo"]
        assert (await ask(served, "GET", "/+status", who=basic("root", "wrong")))[0] == 401


async def test_status_tells_the_time_of_the_last_commit(serve: Serve) -> None:
    async with serve() as served:
        for name in ("anna", "ben"):
            await served.user(name)
            head, at = await served.engine.last_commit()
            assert head == await served.engine.store.head()
            assert at > Timestamp(0)
            told = (await ask(served, "GET", "/+status"))[1]["result"]
            assert told["last-commit-timestamp"] == at / 1_000_000
