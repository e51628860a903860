"""The contract suites of an index store: one for each of its roles, and `IndexStoreContract`, the sum that every index store passes.

    class TestMyIndex(IndexStoreContract):
        async def open_store(self, context):          # a store on the medium of this test, opened or reopened
            return await open_mine("mine://" + context.data.name, context)
        async def peek_log(self): ...                 # back doors: the medium without the store,
        async def peek_files(self): ...               # so that a write is never proved by the matching read
        async def peek_notes(self): ...

The suite of one role, such as `ProjectsContract`, takes the same subclass. It is for a store under development, or for one that changes
one role of another store. The suites write with `apply`, so the store needs the role `IndexWriter` as well.

An attribute declares what a medium cannot do, and the suite asserts that too instead of skipping it. At the end of each test the store
checks itself, and its log is compared with the medium. The cases are in `testing.index_cases`, one module a subject.
`testing.index_machine` compares random histories with the reference.
"""

from __future__ import annotations

from pkgindex_core.testing.index_cases.hosted import HostedFileCases, HostedProjectCases, PageChangeCases
from pkgindex_core.testing.index_cases.identity import TreeCases, UserCases
from pkgindex_core.testing.index_cases.kept import KeptPageCases
from pkgindex_core.testing.index_cases.log import (
    CommitCases,
    ConcurrencyCases,
    ReplayCases,
    RequirementCases,
    StoreLifeCases,
    WaitingCases,
)
from pkgindex_core.testing.index_cases.mirrored import MirrorNamesCases, MirrorPageCases
from pkgindex_core.testing.index_cases.notes import NotesCases
from pkgindex_core.testing.index_cases.noticing import NoticingCases
from pkgindex_core.testing.index_cases.past import PageHistoryCases
from pkgindex_core.testing.index_cases.releases import ReleaseCases
from pkgindex_core.testing.index_cases.sizes import SizeCases


class TreesContract(TreeCases):
    """The suite of `Trees`."""


class ProjectsContract(
    SizeCases, HostedProjectCases, HostedFileCases, MirrorPageCases, KeptPageCases, PageHistoryCases
):
    """The suite of `Projects`."""


class PageChangesContract(PageChangeCases):
    """The suite of `PageChanges`."""


class ListedNamesContract(MirrorNamesCases):
    """The suite of `ListedNames`."""


class ReleaseRecordsContract(ReleaseCases, HostedFileCases):
    """The suite of `ReleaseRecords`. The cases of hosted files test `taken` and `former`."""


class AccountsContract(UserCases):
    """The suite of `Accounts`."""


class ChangeLogContract(CommitCases, NoticingCases, WaitingCases):
    """The suite of `ChangeLog`."""


class IndexWriterContract(CommitCases, RequirementCases, ConcurrencyCases):
    """The suite of `IndexWriter`."""


class ReplayingContract(ReplayCases):
    """The suite of `Replaying`."""


class NotesContract(NotesCases):
    """The suite of `Notes`."""


class KeepingContract(StoreLifeCases):
    """The suite of `Keeping`."""


class IndexStoreContract(
    TreesContract,
    ProjectsContract,
    PageChangesContract,
    ReleaseRecordsContract,
    ListedNamesContract,
    AccountsContract,
    IndexWriterContract,
    ChangeLogContract,
    ReplayingContract,
    NotesContract,
    KeepingContract,
):
    """The suite of `IndexStore`: those of all its roles. Subclass, name it `Test…`, and give it the medium."""
