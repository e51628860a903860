"""The contract suite of `IndexStore`: what every index store passes, ours or a third party's.

    class TestMyIndex(IndexStoreContract):
        async def open_store(self, context):          # a store on the medium of this test, opened or reopened
            return await open_mine("mine://" + context.data.name, context)
        async def peek_log(self): ...                 # back doors: the medium without the store,
        async def peek_files(self): ...               # so that a write is never proved by the matching read

Needs pytest and pytest-asyncio. What a medium cannot do is declared by an attribute and then asserted, never skipped. After
every test the suite asks the store to check itself and compares its log with the medium's. The cases stand in
`testing.index_cases`, one module a subject; `testing.index_machine` drives a store through random lives beside the
reference.
"""

from __future__ import annotations

from pkgindex_core.testing.index_cases.hosted import FileCases, ProjectCases
from pkgindex_core.testing.index_cases.identity import TreeCases, UserCases
from pkgindex_core.testing.index_cases.kept import KeptPageCases
from pkgindex_core.testing.index_cases.log import (
    CommitCases,
    ConcurrencyCases,
    LifeCases,
    ReplayCases,
    RequirementCases,
)
from pkgindex_core.testing.index_cases.mirrored import MirrorNamesCases, MirrorPageCases
from pkgindex_core.testing.index_cases.noticing import NoticingCases
from pkgindex_core.testing.index_cases.releases import ReleaseCases


class IndexStoreContract(
    CommitCases,
    RequirementCases,
    UserCases,
    TreeCases,
    ProjectCases,
    FileCases,
    ReleaseCases,
    MirrorPageCases,
    KeptPageCases,
    MirrorNamesCases,
    ConcurrencyCases,
    ReplayCases,
    NoticingCases,
    LifeCases,
):
    """Subclass, name it `Test…`, and give it the medium."""
