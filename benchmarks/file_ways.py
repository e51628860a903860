"""By which way should files leave: from this server's disk, by nginx (X-Accel-Redirect), or from an object store, streamed or redirected?

Workload: one `pkgindex-serve` for each way; the JSON page of a project of ten files, a wheel of about 10 kB over 32 keep-alive connections, and a
wheel of 100 MB over one. The object store is SeaweedFS on the same machine. "redirected" is the answer with the signed URL; the row of the store has
what the client then asks it for.
Unit: answers a second, MB a second for the large file; CPU time of pkgindex an answer (in the row of the store: of the store), without that of
nginx and of the store.
Left out: a network between server and store, TLS. With a real one streaming costs the server the same, and each window takes the time of a turn.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from unittest.mock import patch
from urllib.parse import urlsplit

from benchmarks.fixtures import page_project
from benchmarks.load import Request, fetch
from benchmarks.pages import MANY
from benchmarks.peers import JSON, Target
from benchmarks.peers.nginx import BEGINNING, Nginx
from benchmarks.peers.pkgindex import HOSTED, PkgIndex
from benchmarks.peers.static import StaticUpstream
from benchmarks.plan import Plan
from benchmarks.rounds import Cell, Column
from benchmarks.tables import Report
from tests.object_stores import ObjectStore, seaweedfs

_SMALL, _LARGE = "file-small", "file-large"
_TABLE = "Ways of a file"
_STORE = "object store, by the signed URL"
_PAGE = Column(table=_TABLE, title=f"page of 10 files, {MANY} connections", connections=MANY)
_FILE = Column(table=_TABLE, title=f"10 kB, {MANY} connections", connections=MANY)
_FRONT = (
    BEGINNING
    + """\
    keepalive_requests 1000000000;
    upstream behind {{ server 127.0.0.1:{behind}; keepalive 64; }}
    server {{
        listen 127.0.0.1:{port};
        location / {{
            proxy_pass http://behind;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_set_header Host $http_host;
        }}
        location /+blobs/ {{ internal; alias {blobs}/; }}
    }}
}}
"""
)


class _Way(PkgIndex):
    """A server that sends files in one way."""

    def __init__(self, plan: Plan, upstream: str, label: str, **variables: str) -> None:
        self.label = label
        self._variables = variables
        super().__init__(plan.site, plan.directory(label.replace(" ", "-").replace(",", "")), upstream=upstream)

    @property
    def blobs(self) -> str:
        return self._variables.get("PKGINDEX_BLOBS", "")

    def environment(self) -> Mapping[str, str]:
        return {**super().environment(), **self._variables}

    def prepare(self) -> None:
        with patch.dict(os.environ, self._variables):
            super().prepare()


class _Front(Nginx):
    """nginx in front of a server, which hands files over to it."""

    def __init__(self, plan: Plan, behind: _Way) -> None:
        super().__init__(plan.site, plan.directory("front"))
        self._behind = behind

    def command(self) -> Sequence[str]:
        return self.configured(_FRONT, behind=self._behind.port, blobs=self._behind.data / "blobs/sha256")


def run(plan: Plan) -> Report:
    """Measure."""
    upstream = StaticUpstream(plan.site, plan.directory("upstream"))
    behind = {"PKGINDEX_ACCEL_REDIRECT": "/+blobs/", "PKGINDEX_TRUSTED_PROXIES": "127.0.0.1"}
    with ExitStack() as stack:
        stack.enter_context(plan.started(upstream))
        disk, handing = _Way(plan, upstream.url, "disk"), _Way(plan, upstream.url, "nginx, X-Accel", **behind)
        stack.enter_context(plan.started(disk, handing))
        front = stack.enter_context(plan.started(_Front(plan, handing)))
        cells = list(_of(plan, disk, disk.port))
        for each in front:
            cells += _of(plan, handing, each.port)
        place = plan.directory("objects")
        shutil.rmtree(place, ignore_errors=True)
        stack.callback(shutil.rmtree, place, ignore_errors=True)
        store = seaweedfs(place)
        if store is None:
            plan.left_out["SeaweedFS"] = "not installed; it comes with the test extra"
        else:
            stack.callback(store.kill)
            streaming, redirecting = _from(plan, upstream.url, store)
            stack.enter_context(plan.started(streaming, redirecting))
            cells += _of(plan, streaming, streaming.port)
            cells += _of(plan, redirecting, redirecting.port, status=302)
            cells += _directly(plan, redirecting, store)
        return plan.report("file_ways", cells)


def _from(plan: Plan, upstream: str, store: ObjectStore) -> Iterator[_Way]:
    for label, downloads in (("streamed", "stream"), ("redirected", "redirect")):
        yield _Way(
            plan,
            upstream,
            f"object store, {label}",
            PKGINDEX_BLOBS=f"{store.url}/{downloads}",
            PKGINDEX_OBJECT_DOWNLOADS=downloads,
            PKGINDEX_PLUGINS__FSSPEC__PUBLIC_ENDPOINT=f'"{store.endpoint}"',
            **store.environment,
        )


def _of(plan: Plan, way: _Way, port: int, status: int = 200) -> Iterator[Cell]:
    (size, *_) = plan.site.sizes
    page = Request(port=port, path=f"/{HOSTED}/+simple/{page_project(size)}/", headers={"Accept": JSON})
    yield Cell(row=way.label, column=_PAGE, target=Target(label=way.label, pid=way.pid, request=page))
    for project, column in ((_SMALL, _FILE), (_LARGE, _whole(plan))):
        request = Request(port=port, path=_path(plan, project), expected=status)
        if status == 200 or column is _FILE:  # a redirect has no throughput
            yield Cell(row=way.label, column=column, target=Target(label=way.label, pid=way.pid, request=request))


def _directly(plan: Plan, way: _Way, store: ObjectStore) -> Iterator[Cell]:
    for project, column in ((_SMALL, _FILE), (_LARGE, _whole(plan))):
        answer = fetch(Request(port=way.port, path=_path(plan, project), expected=302))
        url = urlsplit(answer.headers["location"])
        request = Request(port=url.port or 0, path=f"{url.path}?{url.query}")
        yield Cell(row=_STORE, column=column, target=Target(label=_STORE, pid=store.pid, request=request))


def _path(plan: Plan, project: str) -> str:
    entry, _ = plan.site.file(project)
    return f"/{HOSTED}/+f/{entry.sha256[:3]}/{entry.sha256[3:16]}/{entry.filename}"


def _whole(plan: Plan) -> Column:
    size = plan.site.file(_LARGE)[0].size / 1e6
    return Column(table=_TABLE, title=f"{size:.0f} MB, 1 connection", connections=1, shows="throughput")
