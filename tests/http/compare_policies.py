"""Asks pypiron and this server for the same releases under the same advisories and upload dates, and prints what each still gives.

    .venv/bin/python -m benchmarks setup
    .venv/bin/python -m tests.http.compare_policies

Both mirror one upstream. First they have no policies, and are asked for all pages: the URLs of files are those of a lock file made before. A *kept* file
was fetched then too. Then both are started again over the data that they have, with the same advisories (a zip file of OSV records) and a wait of
seven days.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urljoin, urlsplit

import msgspec
from msgspec import Struct

from benchmarks.fixtures import Manifest, Site
from benchmarks.load import ROOT, Request
from benchmarks.peers import ACCEPT, Server
from benchmarks.peers.caches import PkgIndexCache, PypIron
from pkgindex_core.testing.wheels import BuiltFile, build_sdist, build_wheel
from pkgindex_mirror.testing import ScriptedUpstream

_WAYS = ("page", "file", "kept file", ".metadata", "kept .metadata", "JSON")
_NOTHING = Manifest(recipe=0, sizes=(), large_bytes=0, projects={})


class Case(Struct, frozen=True, kw_only=True):
    """A file: how old its upload is, and what the advisories say of its release."""

    told: str
    project: str
    age: timedelta | None = timedelta(days=2000)
    sdist: bool = False
    advisory: Mapping[str, Any] | None = None

    @property
    def built(self) -> BuiltFile:
        return (build_sdist if self.sdist else build_wheel)(self.project, "1.0")


def _advised(told: str, identifier: str, *, name: str = "", affected: Mapping[str, Any], **more: Any) -> Case:
    project = f"case-{identifier.lower()}"
    record = {
        "schema_version": "1.6.0",
        "id": identifier,
        "summary": told,
        "published": "2026-01-01T00:00:00Z",
        "modified": "2026-01-02T00:00:00Z",
        "affected": [{"package": {"ecosystem": "PyPI", "name": name or project}, **affected}],
        **more,
    }
    return Case(told=told, project=project, advisory=record)


def _range(*events: Mapping[str, str]) -> Mapping[str, Any]:
    return {"ranges": [{"type": "ECOSYSTEM", "events": list(events)}]}


_ONE = {"versions": ["1.0"]}
_HIGH: Mapping[str, Any] = {"severity": [{"type": "CVSS_V3", "score": "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H"}]}
CASES: Sequence[Case] = (
    Case(told="old, nothing known", project="case-old"),
    Case(told="uploaded an hour ago", project="case-new", age=timedelta(hours=1)),
    Case(told="uploaded 6 days and 20 hours ago", project="case-younger", age=timedelta(days=6, hours=20)),
    Case(told="uploaded 7 days and 4 hours ago", project="case-older", age=timedelta(days=7, hours=4)),
    Case(told="sdist of 2021, beside a wheel of an hour ago", project="case-late", sdist=True),
    Case(told="wheel of an hour ago, beside an sdist of 2021", project="case-late", age=timedelta(hours=1)),
    Case(told="no upload time on the upstream's page", project="case-untold", age=None),
    _advised("malware, by version", "MAL-2026-1", affected=_ONE),
    _advised("malware, all versions (a range)", "MAL-2026-2", affected=_range({"introduced": "0"})),
    _advised("malware, by version written 1.0.0", "MAL-2026-3", affected={"versions": ["1.0.0"]}),
    _advised("malware, name written Case_MAL.2026_4", "MAL-2026-4", name="Case_MAL.2026_4", affected=_ONE),
    _advised("malware, another version", "MAL-2026-5", affected={"versions": ["2.0"]}),
    _advised("malware until 0.9 (a range with fixed)", "MAL-2026-6", affected=_range({"introduced": "0"}, {"fixed": "0.9"})),
    _advised("malware, withdrawn", "MAL-2026-7", affected=_ONE, withdrawn="2026-01-02T00:00:00Z"),
    _advised("malware under another identifier (alias MAL-)", "GHSA-2026-8", affected=_ONE, aliases=["MAL-2026-8"]),
    _advised("malware, with no version and no range", "MAL-2026-9", affected={}),
    _advised("vulnerable, critical", "GHSA-2026-10", affected=_ONE, **_HIGH),
)  # fmt: skip


class PypIronGuarded(PypIron):
    """pypiron, from its second start on with the advisories and its wait."""

    feed = ""

    def command(self) -> Sequence[str]:
        command = list(super().command())
        if self.feed:
            changed = {"--advisory-feed": self.feed, "--malware-block": "true", "--exclude-newer": "7 days"}
            for option, value in changed.items():
                command[command.index(option) + 1] = value
        return command


def _fetch(server: Server, path: str, kind: str = "*/*") -> tuple[int, bytes]:
    request = urllib.request.Request(f"http://127.0.0.1:{server.port}{path}", headers={"Accept": kind})
    try:
        with urllib.request.urlopen(request) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read()


def _locked(server: Server, case: Case) -> str:
    """The path of a file's URL, as a lock file has it."""
    page = f"/simple/{case.project}/"
    status, body = _fetch(server, page, ACCEPT["json"])
    assert status == 200, f"{server.name}: {page} {status} {body[:200]!r}"
    files = msgspec.json.decode(body)["files"]
    (url,) = (str(file["url"]) for file in files if file["filename"] == case.built.filename)
    return urlsplit(urljoin(page, url)).path


def _given(server: Server, case: Case, locked: str) -> Mapping[str, str]:
    """By each way, whether the file is still shown or served; else the status."""
    named = case.built.filename.encode()
    pages = [_fetch(server, f"/simple/{case.project}/", ACCEPT[form]) for form in ("json", "html")]
    shown = {"shown" if named in body else "hidden" for _, body in pages}
    file, data = _fetch(server, locked)
    metadata, _ = _fetch(server, f"{locked}.metadata")
    document, body = _fetch(server, f"/pypi/{case.project}/json")
    return {
        "page": shown.pop() if len(shown) == 1 else "shown in one format",
        "file": "served" if file == 200 and data == case.built.data else str(file),
        ".metadata": "-" if case.sdist else "served" if metadata == 200 else str(metadata),
        "JSON": ("shown" if named in body else "hidden") if document == 200 else str(document),
    }


@contextmanager
def _both(place: Path, upstream: str) -> Iterator[tuple[PypIronGuarded, PkgIndexCache]]:
    site = Site(root=place, manifest=_NOTHING)
    servers = PypIronGuarded(site, place / "pypiron", upstream=upstream), PkgIndexCache(site, place / "ours", upstream=upstream)  # fmt: skip
    try:
        for server in servers:
            if why := server.missing():
                raise SystemExit(f"{server.name}: {why}")
            server.start()
        yield servers
    finally:
        for server in servers:
            server.stop()


def _judged(place: Path, upstream: str, *, kept: bool) -> list[tuple[Mapping[str, str], Mapping[str, str]]]:
    """For each case, what pypiron and this server give once they have the policies. `kept`: both had fetched the files before."""
    feed = place / "all.zip"
    place.mkdir()
    with zipfile.ZipFile(feed, "w") as archive:
        for case in CASES:
            if case.advisory is not None:
                archive.writestr(f"{case.advisory['id']}.json", msgspec.json.encode(case.advisory))
    with _both(place, upstream) as (pypiron, ours):
        locked = [(case, _locked(pypiron, case), _locked(ours, case)) for case in CASES]
        for case, theirs, own in locked if kept else ():
            before = (_given(pypiron, case, theirs), _given(ours, case, own))
            assert all(each["page"] == "shown" and each["file"] == "served" for each in before), before
        pypiron.stop()
        ours.stop()
        pypiron.feed = str(feed)
        _run(ours, "advisory", "update", str(feed))
        _run(ours, "index", "modify", "root/pypi", "policies=cooldown 7d", "policies+=malware")
        pypiron.start_again(lambda: _first_page(pypiron))
        ours.start_again(lambda: _first_page(ours))
        return [(_given(pypiron, case, theirs), _given(ours, case, own)) for case, theirs, own in locked]


def _first_page(server: Server) -> Request:
    return Request(port=server.port, path=f"/simple/{CASES[0].project}/", headers={})


def _table(place: Path, upstream: str) -> Iterator[str]:
    names = [
        f"{each.name} {each(Site(root=place, manifest=_NOTHING), place, upstream='').version()}"
        for each in (PypIronGuarded, PkgIndexCache)
    ]
    yield f"| release | {' | '.join(f'{name}: {way}' if way == _WAYS[0] else way for name in names for way in _WAYS)} |"
    yield f"|---|{'---|' * 2 * len(_WAYS)}"
    fresh = _judged(place / "fresh", upstream, kept=False)
    for case, two, kept in zip(CASES, fresh, _judged(place / "kept", upstream, kept=True), strict=True):
        cells = [
            {**given, **{f"kept {way}": cell for way, cell in had.items()}}
            for given, had in zip(two, kept, strict=True)
        ]
        yield f"| {case.told} | {' | '.join(each[way] for each in cells for way in _WAYS)} |"


def _run(server: PkgIndexCache, *words: str) -> None:
    command = [sys.executable, "-m", "pkgindex_http", *words, "--data", str(server.data)]
    subprocess.run(command, env={**os.environ, "PYTHONPATH": str(ROOT)}, check=True, stdout=subprocess.DEVNULL)


async def main() -> None:
    """Print the table."""
    now = datetime.now(UTC)
    with tempfile.TemporaryDirectory() as place:
        async with ScriptedUpstream() as upstream:
            upstream.files_at = f"{upstream.root}files/"
            for case in CASES:
                told = None if case.age is None else (now - case.age).strftime("%Y-%m-%dT%H:%M:%SZ")
                upstream.add(case.project, case.built, upload_time=told)
            lines = await asyncio.to_thread(lambda: [*_table(Path(place), upstream.root.rstrip("/"))])
    print("\n".join(lines))


if __name__ == "__main__":
    asyncio.run(main())
