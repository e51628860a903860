"""The bytes that a store counts, and writes that must stay within quotas."""

from __future__ import annotations

import asyncio

import pytest
from msgspec.structs import replace

from pkgindex_core.changes import (
    Change,
    DropFile,
    DropIndex,
    DropProject,
    PutFile,
    PutIndex,
    WithinQuotas,
    YankFile,
)
from pkgindex_core.errors import QuotaExceeded, Refused, TooLarge
from pkgindex_core.models import File
from pkgindex_core.names import ProjectName
from pkgindex_core.protocols import WHOLE_INDEX
from pkgindex_core.testing.index_cases.base import IndexStoreCases
from pkgindex_core.testing.index_cases.values import DEMO, DEV, MIRROR, NOWHERE, OTHER, PROD, hosted, stage

ONE, TWO, THREE = (f"demo-{number}.0.tar.gz" for number in (1, 2, 3))


def sized(filename: str, size: int | None) -> File:
    return replace(hosted(filename, f"{filename} {size}"), size=size)


def put(filename: str, size: int, project: ProjectName = DEMO) -> PutFile:
    return PutFile(DEV, project, sized(filename, size))


class SizeCases(IndexStoreCases):
    async def sizes(self) -> tuple[int, int, int]:
        """The bytes of demo, other and the whole index."""
        first, second, both = [await self.store.stored_bytes(DEV, each) for each in (DEMO, OTHER, WHOLE_INDEX)]
        return first, second, both

    async def test_files_are_counted_as_they_come_and_go(self) -> None:
        await self.seed()
        assert await self.sizes() == (0, 0, 0)
        await self.commit(put(ONE, 10), put(TWO, 5), put("other-1.0.tar.gz", 7, OTHER))
        assert await self.sizes() == (15, 7, 22)
        await self.commit(put(ONE, 12), YankFile(DEV, DEMO, TWO, '"size":99'))
        assert await self.sizes() == (17, 7, 24)
        await self.commit(DropFile(DEV, DEMO, TWO), put(THREE, 1))
        await self.commit(DropProject(DEV, OTHER))
        assert await self.sizes() == (13, 0, 13)
        await self.commit(DropIndex(DEV))
        assert await self.sizes() == (0, 0, 0)
        await self.commit(PutIndex(stage(DEV)), put(ONE, 3))
        assert await self.sizes() == (3, 0, 3)
        assert [await self.store.stored_bytes(name) for name in (PROD, MIRROR, NOWHERE)] == [0, 0, 0]

    async def test_a_file_without_a_size_counts_as_nothing(self) -> None:
        await self.seed()
        await self.commit(PutFile(DEV, DEMO, sized(ONE, None)), put(TWO, 2))
        await self.commit(DropFile(DEV, DEMO, ONE))
        assert await self.sizes() == (2, 0, 2)

    @pytest.mark.parametrize(
        ("options", "changes"),
        [
            ({"max_file_bytes": 9}, [put(TWO, 10)]),
            ({"max_project_bytes": 19}, [put(TWO, 10)]),
            ({"max_index_bytes": 19}, [put("other-1.0.tar.gz", 10, OTHER)]),
            ({"max_project_bytes": 19}, [put(TWO, 5), put(THREE, 5)]),
            ({"max_index_bytes": 19}, [put(ONE, 20)]),
        ],
        ids=["file", "project", "index", "several", "replaced"],
    )
    async def test_a_write_above_a_quota_changes_nothing(self, options: dict[str, int], changes: list[Change]) -> None:
        await self.seed()
        await self.commit(PutIndex(stage(DEV, options=options)), put(ONE, 10))
        head = await self.store.head()
        with pytest.raises((QuotaExceeded, TooLarge)) as refused:
            await self.store.apply(changes, who="ann", require=[WithinQuotas(DEV)])
        assert isinstance(refused.value, Refused)
        assert next(iter(options)) in f"{refused.value} {refused.value.hint}"
        assert await self.store.head() == head
        assert await self.sizes() == (10, 0, 10)

    @pytest.mark.parametrize(
        ("options", "changes"),
        [
            ({"max_file_bytes": 10, "max_project_bytes": 20, "max_index_bytes": 20}, [put(TWO, 10)]),
            ({"max_file_bytes": 5, "max_project_bytes": 5, "max_index_bytes": 5}, [put(ONE, 4)]),
            ({"max_file_bytes": 5}, [YankFile(DEV, DEMO, ONE, "broken")]),
            ({"max_project_bytes": 10}, [put("other-1.0.tar.gz", 10, OTHER)]),
            ({"max_project_bytes": 10, "max_index_bytes": 10}, [DropFile(DEV, DEMO, ONE), put(TWO, 10)]),
            ({"max_file_bytes": 0, "max_project_bytes": 0, "max_index_bytes": 0}, [put(TWO, 10)]),
        ],
        ids=["just full", "smaller", "yanked", "another project", "in its place", "no quota"],
    )
    async def test_a_write_within_quotas_is_made(self, options: dict[str, int], changes: list[Change]) -> None:
        await self.seed()
        await self.commit(PutIndex(stage(DEV, options=options)), put(ONE, 10))
        assert await self.store.apply(changes, who="ann", require=[WithinQuotas(DEV)]) is not None

    async def test_a_write_that_does_not_ask_is_not_bounded(self) -> None:
        """Replicas and restores make what another store has made."""
        await self.seed()
        await self.commit(PutIndex(stage(DEV, options={"max_index_bytes": 1})), put(ONE, 10))

    async def test_a_quota_holds_for_writers_that_come_together(self) -> None:
        await self.seed()
        await self.commit(PutIndex(stage(DEV, options={"max_index_bytes": 50})))
        stores = [self.store]
        if self.survives_reopening:
            stores.append(await self.open_store(self.context))
        names = [ProjectName(f"project-{number}") for number in range(20)]
        outcomes = await asyncio.gather(
            *(
                stores[number % len(stores)].apply(
                    [put(f"{name.replace('-', '_')}-1.0.tar.gz", 10, name)], who="ann", require=[WithinQuotas(DEV)]
                )
                for number, name in enumerate(names)
            ),
            return_exceptions=True,
        )
        refused = [each for each in outcomes if isinstance(each, BaseException)]
        assert {type(each) for each in refused} == {QuotaExceeded}
        assert len(refused) == 15
        assert await self.store.stored_bytes(DEV) == 50
        for other in stores[1:]:
            await other.close()
