"""An offline server asks nobody, and shows what it has."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from pkgindex_core.errors import BadUpstream
from pkgindex_core.models import IndexConfig
from pkgindex_core.names import ProjectName
from pkgindex_core.protocols import PageFilter
from pkgindex_core.testing.configs import mirror_config
from pkgindex_core.testing.index_cases.values import DEV, MIRROR
from pkgindex_core.testing.page_filters import PageFilterContract
from pkgindex_core.testing.samples import sample_file, tree_of
from pkgindex_core.testing.wheels import build_wheel
from pkgindex_mirror.offline import StoredFiles
from pkgindex_mirror.testing import ScriptedUpstream

from .conftest import MakeMirror

HELD, OTHER = sample_file("demo-1.0.tar.gz"), sample_file("demo-2.0.tar.gz", "2.0")


def short(file) -> bytes:
    return bytes.fromhex(file.sha256[:32])


class TestStoredFiles(PageFilterContract):
    tree = tree_of(IndexConfig(name=DEV, bases=(MIRROR,)), mirror_config(MIRROR, "https://example.org/simple/"))
    origin = MIRROR
    hides = OTHER
    shows = HELD

    def make(self) -> PageFilter:
        return StoredFiles([short(HELD)])

    def others(self) -> Sequence[PageFilter]:
        return [StoredFiles([short(OTHER)]), StoredFiles([])]

    def test_hosted_files_are_shown(self) -> None:
        assert self.make().judge(DEV, OTHER, self.build(self.make())) is None


async def test_nobody_is_asked_and_what_is_stored_is_served(
    upstream: ScriptedUpstream, make_mirror: MakeMirror
) -> None:
    old, new = build_wheel("demo", "1.0"), build_wheel("demo", "2.0")
    upstream.add("demo", old, new)
    upstream.add("other", build_wheel("other", "1.0"))
    online = await make_mirror(upstream.url)
    await online.refresh()
    await online.download(old.filename)
    asked = len(upstream.asked)
    offline = await make_mirror(upstream.url, of=online, offline=True)
    offline.clock.advance(5000)
    freshness = await offline.refresh()
    assert (freshness.state, freshness.reason) == (
        "stale",
        "this server is offline (setting offline of the mirror plugin)",
    )
    assert await offline.download(old.filename) == old.data
    assert await offline.sidecar(old.filename) == old.metadata
    for unknown in (
        offline.refresh(ProjectName("other")),
        offline.download(new.filename),
        offline.sidecar(new.filename),
    ):
        with pytest.raises(BadUpstream, match="this server is offline"):
            await unknown
    names = await offline.readthrough.names(offline.index)
    assert [[row.name for row in rows] async for rows in names.read("")] == [["demo"]]
    assert names.is_partial
    assert len(upstream.asked) == asked
