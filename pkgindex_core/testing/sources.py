"""The contract suite of `Source`: what every source passes, ours or a third party's.

    class TestMySource(SourceContract):
        upstream = "there"                            # what the source can do is declared …
        async def begin(self): ...                    # what the content comes from; returns the index
        async def open_source(self, context):         # the source, over the stores in the context
            return MySource(context.index_store, context.blob_store)
        async def publish(self, project, *built): ... # back doors: what is there without the source,
        async def withdraw(self, project): ...        # so that reading is never proved by writing
        async def go_away(self): ...
        def damage(self, built, data): ...

Needs pytest and pytest-asyncio. What a source cannot do is declared by an attribute and then asserted, never skipped. After every test
the suite closes the source and fails on any work that goes on. The stores are those in memory; their promises are proved by their own
suites. The cases stand in `testing.source_cases`, one module a subject.
"""

from __future__ import annotations

from pkgindex_core.testing.source_cases.files import FileCases, MetadataCases
from pkgindex_core.testing.source_cases.lives import AwayCases, LifeCases
from pkgindex_core.testing.source_cases.projects import NamesCases, ProjectCases, UploadCases


class SourceContract(ProjectCases, NamesCases, UploadCases, FileCases, MetadataCases, AwayCases, LifeCases):
    """Subclass, name it `Test…`, and say where the content comes from."""
