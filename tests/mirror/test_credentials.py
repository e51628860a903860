"""A canary password: at the upstream's own origin, and nowhere else, in no log, error, stored value or foreign request."""

from __future__ import annotations

import base64
import logging
from typing import Any

import msgspec
import pytest

from pkgindex_core.errors import PkgIndexError
from pkgindex_core.testing.wheels import build_wheel
from pkgindex_mirror.testing import Behaviour, ScriptedUpstream, behaviours
from pkgindex_mirror.upstreams.sites import site_of

from .conftest import MakeMirror, Mirror

SECRET = "canary-s3cret"
CREDENTIALS = f"robot:{SECRET}"
HEADER = "Basic " + base64.b64encode(CREDENTIALS.encode()).decode()
WHEEL = build_wheel("demo", "1.0")
PRIVATE = {"config": {"mirror_credentials": CREDENTIALS}, "allow_networks": ("127.0.0.0/8", "::1")}


async def everything(mirror: Mirror) -> list[BaseException]:
    """Use the mirror in every way; what it raised."""
    raised: list[BaseException] = []

    async def attempt(call: Any) -> None:
        try:
            await call
        except (PkgIndexError, KeyError) as error:  # KeyError: there is no such file, since there is no page
            raised.append(error)

    await attempt(mirror.refresh())
    await attempt(mirror.readthrough.names(mirror.index))
    await attempt(mirror.download(WHEEL.filename))
    await attempt(mirror.sidecar(WHEEL.filename))
    return raised


def texts(error: BaseException | None) -> str:
    """All that an error and its causes would show."""
    text = ""
    while error is not None:
        text += f"{error!r} {error} {vars(error)}"
        error = error.__cause__ or error.__context__
    return text


async def assert_hidden(mirror: Mirror, raised: list[BaseException], caplog: pytest.LogCaptureFixture) -> None:
    shown = caplog.text + "".join(texts(error) for error in raised)
    for commit in await mirror.store.commits(0):
        shown += "".join(repr(change) for change in commit.changes if "mirror_credentials" not in repr(change))
        shown += "".join(
            msgspec.json.encode(change).decode() for change in commit.changes if type(change).__name__ != "PutIndex"
        )
    for form in (SECRET, HEADER, HEADER.partition(" ")[2]):
        assert form not in shown


async def test_the_upstream_gets_them(upstream: ScriptedUpstream, make_mirror: MakeMirror, caplog) -> None:
    caplog.set_level(logging.DEBUG)
    upstream.add("demo", WHEEL)
    mirror = await make_mirror(upstream.url, **PRIVATE)
    assert not await everything(mirror)
    assert {asked.headers.get("Authorization") for asked in upstream.asked} == {HEADER}
    await assert_hidden(mirror, [], caplog)
    assert SECRET not in repr(site_of(mirror.index))


async def test_files_elsewhere_do_not_get_them(upstream: ScriptedUpstream, make_mirror: MakeMirror, caplog) -> None:
    caplog.set_level(logging.DEBUG)
    async with ScriptedUpstream() as files:
        files.add("demo", WHEEL)
        upstream.add("demo", WHEEL)
        # Another port of the same address is another origin, another name of it too.
        for root in (files.root, files.root.replace("127.0.0.1", "localhost")):
            upstream.files_at = f"{root}files/"
            mirror = await make_mirror(upstream.url, **PRIVATE)
            assert not await everything(mirror)
        assert {asked.place for asked in files.asked} == {"file"}
        assert all("Authorization" not in asked.headers for asked in files.asked)


@pytest.mark.parametrize("code", [301, 302, 303, 307, 308])
async def test_a_redirect_elsewhere_loses_them_for_good(
    upstream: ScriptedUpstream, make_mirror: MakeMirror, code: int, caplog
) -> None:
    caplog.set_level(logging.DEBUG)
    async with ScriptedUpstream() as other:
        upstream.add("demo", WHEEL)
        # Out and back again: the last request goes to the upstream and carries nothing.
        upstream.script("/simple/demo/", behaviours.redirect(f"{other.root}away", code), times=1)
        other.script("/away", behaviours.redirect(f"{upstream.url}demo/?back", code))
        mirror = await make_mirror(upstream.url, **PRIVATE)
        assert (await mirror.refresh()).state == "fresh"
        assert [asked.headers.get("Authorization") for asked in upstream.asked] == [HEADER, None]
        assert [asked.headers.get("Authorization") for asked in other.asked] == [None]
        await assert_hidden(mirror, [], caplog)


async def test_a_redirect_at_home_keeps_them(upstream: ScriptedUpstream, make_mirror: MakeMirror) -> None:
    upstream.add("demo", WHEEL)
    upstream.script("page", behaviours.redirect("/simple/demo/?again"), times=1)
    mirror = await make_mirror(upstream.url, **PRIVATE)
    assert (await mirror.refresh()).state == "fresh"
    assert [asked.headers.get("Authorization") for asked in upstream.asked] == [HEADER, HEADER]


async def test_userinfo_in_links_and_redirects_is_dropped(
    upstream: ScriptedUpstream, make_mirror: MakeMirror, caplog
) -> None:
    caplog.set_level(logging.DEBUG)
    host = upstream.root.removeprefix("http://")
    upstream.files_at = f"http://robot:{SECRET}@{host}files/"
    upstream.add("demo", WHEEL)
    upstream.script("page", behaviours.redirect(f"http://robot:{SECRET}@{host}simple/demo/?x"), times=1)
    mirror = await make_mirror(upstream.url)
    raised = await everything(mirror)
    assert not raised
    assert all("Authorization" not in asked.headers for asked in upstream.asked)
    await assert_hidden(mirror, raised, caplog)


async def test_userinfo_in_the_index_url_is_not_shown(
    upstream: ScriptedUpstream, make_mirror: MakeMirror, caplog
) -> None:
    caplog.set_level(logging.DEBUG)
    upstream.script("page", behaviours.status(500))
    mirror = await make_mirror(upstream.url.replace("//", f"//robot:{SECRET}@"))
    raised = await everything(mirror)
    shown = caplog.text + "".join(texts(error) for error in raised)
    assert SECRET not in shown


ECHOES: list[tuple[str, Behaviour]] = [
    ("its headers sent back", lambda asked, _answer: behaviours.status(401, body=repr(asked.headers).encode())(asked, _answer)),
    ("a redirect with them", behaviours.redirect(f"http://robot:{SECRET}@127.0.0.1:9/")),
    ("a redirect with them in the query", behaviours.redirect(f"/x?token={SECRET}")),
    ("a challenge", behaviours.status(401, headers={"WWW-Authenticate": f'Basic realm="{SECRET}"'})),
    ("a header that is no header", behaviours.with_headers(Retry_After=SECRET, Content_Encoding=SECRET[:6])),
    ("no HTTP", behaviours.garbage()),
    ("a reset", behaviours.reset(0)),
    ("a cut", behaviours.truncated(0.3)),
]  # fmt: skip


@pytest.mark.parametrize("echo", [echo for _, echo in ECHOES], ids=[name for name, _ in ECHOES])
async def test_whatever_fails_shows_nothing(
    upstream: ScriptedUpstream, make_mirror: MakeMirror, caplog, echo: Behaviour, tally
) -> None:
    caplog.set_level(logging.DEBUG, logger="pkgindex_mirror")
    upstream.add("demo", WHEEL)
    mirror = await make_mirror(upstream.url, **PRIVATE)
    assert (await mirror.refresh()).state == "fresh"
    mirror.clock.advance(10_000)
    for place in ("names", "page", "file", "sidecar"):
        upstream.script(place, echo)
    raised = await everything(mirror)
    await assert_hidden(mirror, raised, caplog)
    tally("canary passwords looked for", 1)


async def test_https_does_not_redirect_to_http(make_mirror: MakeMirror, upstream: ScriptedUpstream, tls) -> None:
    async with ScriptedUpstream(tls=tls.server("localhost"), host="localhost") as secure:
        upstream.add("demo", WHEEL)
        secure.add("demo", WHEEL)
        mirror = await make_mirror(secure.url, ca_file=tls.ca_file, **PRIVATE)
        secure.script("page", behaviours.redirect(f"{upstream.url}demo/"))
        with pytest.raises(PkgIndexError, match="from https to http"):
            await mirror.refresh()
        assert not upstream.asked
