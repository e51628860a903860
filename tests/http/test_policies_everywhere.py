"""Every route that shows or serves anything x every kind of policy x every way in: what a policy hides is nowhere.

Made over the table of routes: a new route that shows a file is in the table, and one that shows none has to be named in `SILENT`. The same
requests without policies count how much there is to hide.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Final

import pytest
from msgspec import Struct

from pkgindex_core.changes import PutAttachment, PutIndex, PutRelease
from pkgindex_core.clock import Timestamp, to_rfc3339
from pkgindex_core.models import Attachment, Release
from pkgindex_core.names import IndexName, ProjectName
from pkgindex_core.protocols import Principal
from pkgindex_core.rules.negotiation import HTML_V1, JSON_V1
from pkgindex_core.rules.searching.queries import read_query
from pkgindex_core.services.moving.static_projects import StaticView
from pkgindex_core.testing.configs import changed_config
from pkgindex_core.testing.wheels import BuiltFile, build_sdist, build_wheel, zip_of
from pkgindex_http.routes import ROUTES
from pkgindex_http.routing import Route
from tests.conftest import Tally
from tests.http.conftest import Mirrored, basic
from tests.http.conftest import MirroredStart as Start

MIRROR, DEV, TOP = IndexName("root/pypi"), IndexName("root/dev"), IndexName("root/top")
OLD_TIME = "2020-01-01T00:00:00Z"
PROVENANCE = "https://example.org/demo-2.0.provenance"


class Content(Struct, frozen=True):
    """A project: an old sdist, and a new wheel that policies hide."""

    project: ProjectName
    index: IndexName
    shown: BuiltFile
    held: BuiltFile


def content(name: str, index: IndexName) -> Content:
    padding = {f"{name}/__init__.py": bytes(range(256)) * 40}
    return Content(
        ProjectName(name), index, build_sdist(name, "1.0"), build_wheel(name, "2.0", files=padding, stored=True)
    )


DEMO, OWN = content("demo", MIRROR), content("own", DEV)
WAYS: Final = [(DEMO, MIRROR), (DEMO, DEV), (DEMO, TOP), (OWN, DEV), (OWN, TOP)]
"""A project, and the index that is asked for it: the mirror, the stage that inherits it, the index that inherits the stage."""
RELEASES: Final = f"{DEMO.project}==2.0, {OWN.project}==2"
POLICIES: Final = {
    "cooldown": ["cooldown 7d"],
    "cooldown of a project": ["cooldown off", "cooldown P7D for demo, own"],
    "nothing-after": ["nothing-after 2024-01-01"],
    "quarantine": [f"quarantine a theft for {RELEASES}"],
    "revoked": [f"revoked sha256:{each.held.sha256} a leak" for each in (DEMO, OWN)],
    "file-types": ["file-types tar.gz"],
    "max-size": ["max-size 8KB"],
    "private": ["private for d*"],
    "malware": ["malware"],
    "vulnerabilities": ["vulnerabilities block high"],
}
ADVISORIES: Final = [
    {
        "id": identifier,
        "modified": "2026-01-01T00:00:00Z",
        "affected": [
            {"package": {"ecosystem": "PyPI", "name": each.project}, "versions": ["2.0"]} for each in (DEMO, OWN)
        ],
    }
    for identifier in ("GHSA-1", "MAL-1")
]
"""The mirror and the stage have advisories of their own. They decide nothing without a policy that reads them."""
SILENT: Final = {
    "/+search.js", "/robots.txt", "/+live", "/+ready", "/+authcheck", "/+metrics", "/+api", "/{user}/+api", "/{user}/{index}/+api", "/+status", "/{user}/+tokens", "/",
    "/{user}[/]", "/simple", "/simple/{project}", "/simple/namespaces", "/simple/namespace/{namespace}", "/{user}/{index}/+simple/namespaces", "/{user}/{index}/+simple/namespace/{namespace}", "/{user}/{index}/+simple", "/{user}/{index}/+simple/{project}",
    "/+at/{at}/{user}/{index}/+simple", "/+at/{at}/{user}/{index}/+simple/{project}", "/{user}/{index}/{project}/{version}/+doc",
    "/{user}/{index}/{project}/{version}/+d", "/{user}/{index}/{project}/{version}/+d/{path...}", "/{user}/{index}/+e/{a}/{filename}",
    "/+login", "/+users", "/project/{project}[/]", "/+working.css", "/openapi.json", "/_/oidc/audience", "/{user}/+account", "/{user}/+new-index",
    "/{user}/{index}/+edit", "/{user}/{index}/+plots", "/{user}/{index}/+plots/{project}", "/{user}/{index}/+upload",
    "/{user}/{index}/+feed/{project}", "/{user}/{index}/+manage/{project}", "/{user}/{index}/+promote/{project}/{version}",
}  # fmt: skip
"""Routes that say nothing about files: redirects that depend on the URL alone, and what is about the server or a user."""
APART: Final = {
    "/+search": "finds what is in all indexes, such as the one without policies to which releases are pushed here",
    "/+explain": "tells of hidden files, with the reasons",
    "/+decisions": "the same",
    "/{user}/{index}/+advisories": "tells of advisories, to those who may change the index",
    "/+osv/v1/vulns/{id}": "tells of advisories, which are about hidden releases",
    "/{user}/{index}/+exemptions": "tells of package URLs, to those who may change the index",
    "/+changes": "the feed of a replica, which has the same policies and judges by them",
    "/+changes/{user}/{index}/{project}": "the same",
    "/+changes/{user}/{index}/{project}/{digest}/{filename}": "the same",
}
BROWSER: Final = "text/html,application/xhtml+xml,*/*;q=0.8"
LISTS: Final = {
    "/simple/", "/simple/v1+json/", "/simple/v1+html/", "/{user}/{index}[/]", "/{user}/{index}/+simple/", "/+at/{at}/{user}/{index}/+simple/",
    "/{user}/{index}/+search",
}  # fmt: skip
"""Routes that list projects."""


@asynccontextmanager
async def scene(mirrored: Start) -> AsyncIterator[Mirrored]:
    """Three indexes with both projects, all pages known, and the files of the mirror stored."""
    async with mirrored() as world:
        served, engine = world.served, world.served.engine
        del world.upstream.projects["demo"]
        world.upstream.add("demo", DEMO.shown, upload_time=OLD_TIME)
        now = to_rfc3339(Timestamp(engine.clock.now() - 3_600_000_000))
        world.upstream.add("demo", DEMO.held, upload_time=now, provenance=PROVENANCE)
        await served.index(TOP, bases=(DEV,), acl_upload=("root",))
        await served.index("root/target", acl_upload=("root",))
        await served.user("root")
        old = Timestamp(1_577_836_800_000_000)
        await served.put(OWN.shown, index=DEV, upload_time=old)
        await served.put(OWN.held, index=DEV, provenance=PROVENANCE)
        archive = await engine.blobs.put(zip_of({"index.html": OWN.held.filename.encode()}))
        attachment = Attachment(
            kind="doczip", filename="own-2.0.doc.zip", version="2.0", sha256=archive.sha256, size=archive.size, added=old
        )  # fmt: skip
        release = Release(version="2.0", metadata=b'{"name": "own", "version": "2.0"}')
        await engine.store.apply(
            [PutRelease(DEV, OWN.project, release), PutAttachment(DEV, OWN.project, attachment)], who="[test]"
        )
        for file in (DEMO.shown, DEMO.held):
            async with served.get(f"/root/pypi/+f/{file.sha256[:3]}/{file.sha256[3:16]}/{file.filename}") as answer:
                assert await answer.read() == file.data
        await engine.settle()
        yield world


async def set_policies(world: Mirrored, lines: Iterable[str]) -> None:
    tree = await world.served.engine.store.tree()
    changes = [
        PutIndex(changed_config(tree.indexes[name], policies=list(lines), advisories=ADVISORIES))
        for name in (MIRROR, DEV)
    ]
    await world.served.engine.store.apply(changes, who="[test]")


def addresses(route: Route, about: Content, index: IndexName, at: str, file: BuiltFile) -> list[str]:
    """The URLs of a route for a file; for a wheel also that of the sidecar."""
    user, _, name = index.partition("/")
    values = {
        "{at}": at, "{user}": user, "{index}": name, "{project}": about.project, "{version}": "2.0", "{digest}": file.sha256,
        "{path...}": "index.html", "{id}": "x", "{namespace}": "x",
    }  # fmt: skip
    pinned = (file.sha256[:3], file.sha256[3:16], "")
    if route.path.startswith("/packages/"):
        pinned = (file.sha256[:2], file.sha256[2:4], file.sha256[4:])
    values |= dict(zip(("{a}", "{b}", "{c}"), pinned, strict=True))
    path = route.path.removesuffix("[/]")
    for placeholder, value in values.items():
        path = path.replace(placeholder, value)
    if "{filename}" not in path:
        assert "{" not in path, f"nothing is said for a placeholder of {route.path}"
        return [path]
    return [path.replace("{filename}", f"{file.filename}{ending}") for ending in ("", ".metadata")]


def tells(about: Content, route: Route, url: str, body: bytes, location: str) -> bool:
    """Whether an answer shows something of the held file."""
    if route.path in LISTS:
        return False
    marks = (about.held.filename.encode(), about.held.sha256.encode())
    shows = any(mark in body for mark in marks) or body in {about.held.data, about.held.metadata}
    # `root/target` has no policies. Releases are pushed to it here, and a permalink may lead to it.
    permalink = route.path.startswith("/project/") and location.endswith("/2.0") and "root/target" not in location
    shows = shows or permalink or (route.path.endswith("/+diff") and b"2.0" in body)
    return shows or about.held.filename in location or location == PROVENANCE or (b'"2.0"' in body and "json" in url)


async def asked(world: Mirrored, at: str) -> dict[tuple[str, str, str], bool]:
    """Ask every route in every way. By route, project and index: whether it shows the held file."""
    found: dict[tuple[str, str, str], bool] = {}
    for route in ROUTES:
        if route.method != "GET" or route.path in APART:
            continue
        for about, index in WAYS:
            if "{index}" not in route.path and index != DEV:
                continue  # it is about the default index
            shows = False
            for url in addresses(route, about, index, at, about.held):
                for accept in (JSON_V1, HTML_V1, "application/json", "*/*", BROWSER):
                    async with world.served.get(url, headers={"Accept": accept}) as answer:
                        body, location = await answer.read(), answer.headers.get("Location", "")
                        # The provenance of a mirrored file is asked of a host that is not there. The question alone tells of the file.
                        asks = answer.status == 503 and url.endswith("/provenance")
                        assert answer.status < 500 or asks, f"{url} {answer.status} {body[:300]!r}"
                    shows = shows or asks
                    if answer.status < 400:  # an error may repeat the name in the URL
                        shows = shows or tells(about, route, url, body, location)
            found[route.path, about.project, index] = shows
    return found


async def listed(world: Mirrored, at: str) -> set[tuple[str, str]]:
    """The lists of projects that name the mirrored project."""
    found = set()
    for route in ROUTES:
        if route.method == "GET" and route.path in LISTS:
            for index in (MIRROR, DEV, TOP):
                (url,) = addresses(route, DEMO, index, at, DEMO.held)
                async with world.served.get(url, headers={"Accept": JSON_V1}) as answer:
                    if b'"demo"' in await answer.read():
                        found.add((route.path, index))
    return found


async def beside(world: Mirrored) -> dict[str, bool]:
    """What is not a route: published trees, and pushes to another index."""
    engine = world.served.engine
    found: dict[str, bool] = {}
    for about, start in WAYS:
        view = StaticView(start=start, principal=Principal(name="root"), mirrors=True)
        project = await engine.static_projects.read(view, about.project)
        names = {file.filename for file in project.files} if project is not None else set()
        found[f"tree of {about.project} in {start}"] = about.held.filename in names
        story = await engine.searching.search(
            read_query(about.project), start=start, principal=Principal(name="root"), limit=10
        )
        found[f"version of {about.project} found in {start}"] = "2.0" in {each.version for each in story.projects}
        if start == about.index:
            document = {"name": about.project, "version": "2.0", "targetindex": "root/target"}
            async with world.served.request("PUSH", f"/{start}", json=document, headers=basic("root")) as answer:
                found[f"push of {about.project} from {start}"] = answer.status == 200
        found[f"search for {about.project} in {start}"] = about is DEMO and any(
            each.project == about.project for each in story.projects
        )
    return found


async def test_what_a_policy_hides_is_nowhere(mirrored: Start, tally: Tally) -> None:
    async with scene(mirrored) as world:
        at = str(await world.served.engine.store.head())
        control = await asked(world, at)
        silent = {path for path, _, _ in control if not any(shows for key, shows in control.items() if key[0] == path)}
        assert silent - LISTS == SILENT, "routes that show no file although they could: name them, or ask them right"
        lists = await listed(world, at)
        around = await beside(world)
        assert all(shows for what, shows in around.items() if not what.startswith("search"))
        for name, lines in POLICIES.items():
            await set_policies(world, lines)
            private = name == "private"
            for view in {at, str(await world.served.engine.store.head())}:
                told = await asked(world, view)
                hidden = [key for key, shows in control.items() if shows and (not private or key[1] == DEMO.project)]
                leaks = [key for key in hidden if told[key]]
                assert not leaks, f"{name}: {leaks}"
                tally("answers without what a policy hides", len(hidden))
                names = await listed(world, view)
                assert (not names) if private else names == lists, name
            for what, shows in (await beside(world)).items():
                if not private and what.startswith("search"):
                    continue  # a project with a release that is shown is found
                assert not shows or (private and "own" in what), f"{name}: {what}"
                tally("answers without what a policy hides", 1)
            shown = await world.served.client.get(
                f"{world.served.url}/root/top/+simple/{OWN.project}/", headers={"Accept": JSON_V1}
            )
            assert OWN.shown.filename in await shown.text(), name
        await set_policies(world, [])
        assert await asked(world, at) == control


@pytest.mark.parametrize("mode", ["warn", "observe"])
async def test_what_is_only_told_is_everywhere(mirrored: Start, mode: str) -> None:
    async with scene(mirrored) as world:
        at = str(await world.served.engine.store.head())
        control = await asked(world, at)
        await set_policies(world, [f"cooldown {mode} 7d", f"quarantine {mode} x for {RELEASES}"])
        assert await asked(world, at) == control
