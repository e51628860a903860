"""A page that is glanced at is the page that is judged file by file."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from pkgindex_core.clock import Timestamp
from pkgindex_core.digests import sha256_of
from pkgindex_core.formats.fragments import page_row
from pkgindex_core.formats.html_page import HtmlRenderer
from pkgindex_core.formats.json_page import JsonRenderer
from pkgindex_core.formats.kept_pages import KeptEntries, keep
from pkgindex_core.models import File, IndexConfig, Page, PageHead, Serial, Tree
from pkgindex_core.names import IndexName, ProjectName
from pkgindex_core.protocols.policies import Build, MergedPage, PageFilter
from pkgindex_core.rules.filtering import Judgement, apply_filters
from pkgindex_core.rules.glancing import Glances
from pkgindex_core.rules.merging import merge
from pkgindex_core.rules.policing.kinds import KINDS, found
from pkgindex_core.rules.policing.lines import ServerPolicies
from pkgindex_core.testing.samples import mirror_config

DEMO = ProjectName("demo")
DEV, MIRROR = IndexName("team/dev"), IndexName("root/pypi")
NOW = 1_795_996_800_000_000
DAY = 86_400_000_000
LINES = (
    "cooldown 7d",
    "cooldown warn 3d for demo>=2",
    "cooldown off for demo==1.0.1",
    "cooldown 7d by first-seen for demo==3.*",
    "nothing-after 2026-11-20",
    "quarantine for demo==1.0",
    "deprecated for demo<1.1",
    f"revoked sha256:{sha256_of(b'3')}",
    "file-types whl, tar.gz",
    "max-size 12000",
)
versions = st.sampled_from(["1", "1.0", "1.0.0", "1.0.1", "2.0", "2.0rc1", "3.1", "not a version", ""])
times = st.none() | st.integers(-30, 0).map(lambda days: Timestamp(NOW + days * DAY))


class Slowly:
    """A filter without its glance."""

    def __init__(self, inner: PageFilter) -> None:
        self._inner = inner

    def __getattr__(self, name: str) -> Any:
        if name == "suspects":
            raise AttributeError(name)
        return getattr(self._inner, name)


@st.composite
def files(draw: st.DrawFn) -> list[File]:
    made = []
    for at in range(draw(st.integers(1, 30))):
        ending = draw(st.sampled_from(["-py3-none-any.whl", ".tar.gz", ".zip", ".EXE", '"é\\.whl']))
        made.append(
            File(
                filename=f"demo-{at}{ending}",
                version=draw(versions),
                digests={"sha256": sha256_of(str(draw(st.integers(0, 40))).encode())},
                size=draw(st.none() | st.integers(0, 20_000)),
                upload_time=draw(times),
                first_seen=draw(times),
                requires_python=draw(st.sampled_from(["", '>=3 "size":99999 "upload-time":"2099-01-01T00:00:00Z"'])),
            )
        )
    return made


def judged(filters: Mapping[str, Any], page: MergedPage, build: Build) -> tuple[Any, Sequence[Judgement]]:
    shown, judgements = apply_filters(page, filters, build)
    bodies = [renderer.page(shown) for renderer in (JsonRenderer(), HtmlRenderer("text/html"))]
    body = json.loads(bodies[0])
    assert len(body["files"]) == len(shown.entries)
    return (bodies, shown.versions), judgements


@given(
    own=files(),
    mirrored=files(),
    lines=st.lists(st.sampled_from(LINES), min_size=1, max_size=4, unique=True),
    way=st.sampled_from(["kept", "rows", "layers"]),
    many=st.integers(0, 60),
)
def test_a_glance_decides_as_a_look_at_each_file(
    own: list[File], mirrored: list[File], lines: list[str], way: str, many: int
) -> None:
    options = {**mirror_config(MIRROR, "https://example.org/simple/").options, "policies": lines}
    tree = Tree(
        serial=Serial(1),
        indexes={
            DEV: IndexConfig(name=DEV, bases=(MIRROR,)),
            MIRROR: IndexConfig(name=MIRROR, type="mirror", mirrored=True, options=options),
        },
    )
    # Many old files beside the others, so that these are few.
    old = [
        File(filename=f"demo-0.{at}.tar.gz", version=f"0.{at}", digests={"sha256": sha256_of(b"old")}, size=1, upload_time=Timestamp(NOW - 90 * DAY), first_seen=Timestamp(NOW - 90 * DAY))
        for at in range(many)
    ]  # fmt: skip
    rows = keep(DEMO, [*mirrored, *old])
    page = Page(
        index=MIRROR, project=DEMO, stamp=Serial(1), head=PageHead(), rows=rows if way == "kept" else tuple(rows)
    )
    layers = [(MIRROR, "../", page)]
    if way == "layers":
        hosted = tuple(page_row(each) for each in own)
        layers.insert(0, (DEV, "../", Page(index=DEV, project=DEMO, stamp=Serial(1), head=PageHead(), rows=hosted)))
    merged = merge(DEMO, layers)
    assert isinstance(merged.entries, KeptEntries) is (way == "kept")
    filters = {rule: found(kind.filter)(ServerPolicies()) for rule, kind in KINDS.items() if not kind.only_uploads}
    build = Build(tree=tree, start=DEV, project=DEMO, moment=Timestamp(NOW))
    assert judged(filters, merged, build) == judged(
        {name: Slowly(each) for name, each in filters.items()}, merged, build
    )


def test_policies_glance() -> None:
    for kind in KINDS.values():
        assert isinstance(found(kind.filter)(ServerPolicies()), Glances)
    assert not isinstance(Slowly(found(KINDS["cooldown"].filter)(ServerPolicies())), Glances)
