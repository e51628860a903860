"""Plans of runs, made on their own."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from pkgindex_core.errors import Unavailable
from pkgindex_core.models import File
from pkgindex_mirror.syncing.planning import Planning
from pkgindex_mirror.syncing.progress import Progress
from pkgindex_mirror.syncing.project_work import Addresses
from pkgindex_mirror.syncing.running import UpstreamPlaces

from .conftest import Mirroring, NamedChosen
from .memory_target import MemoryTarget


class BrokenTarget(MemoryTarget):
    """Cannot say which files it has."""

    async def missing(self, files: Sequence[File]) -> Sequence[File]:
        raise Unavailable(f"the disk has an error; {len(files)} files are not known")


async def test_trouble_with_the_mirror_is_one_plain_error(mirroring: Mirroring):
    mirroring.serve("alpha", "1.0", serial=5)
    mirroring.serve("beta", "1.0", serial=6)
    await mirroring.run()
    mirroring.serve("alpha", "1.1", serial=7)
    await mirroring._new_run(NamedChosen(), {})
    planning = Planning(
        target=BrokenTarget(),
        transport=mirroring.transport,
        places=UpstreamPlaces(
            list_url=mirroring.upstream.url,
            addresses=Addresses(page_of=lambda name: f"{mirroring.upstream.url}{name}/", document_of=str),
        ),
        chosen=NamedChosen(),
        settings=mirroring.settings,
        clock=mirroring.clock,
        progress=Progress(mirroring.clock),
    )
    try:
        with pytest.raises(Unavailable, match="the disk has an error"):
            await planning.run()
    finally:
        await mirroring.transport.close()
