"""The contract suite of `Source`, which every source passes, also those of third parties.

    class TestMySource(SourceContract):
        upstream = "there"                            # what the source can do is declared …
        async def begin(self): ...                    # what the content comes from; returns the index
        async def open_source(self, context):         # the source, over the stores in the context
            return MySource(context.index_store, context.blob_store)
        async def publish(self, project, *built): ... # back doors: what is there without the source,
        async def withdraw(self, project): ...        # so that reading is never proved by writing
        async def go_away(self): ...
        def damage(self, built, data): ...

An attribute declares what a source cannot do, and the suite asserts that too instead of skipping it. At the end of each test the suite
closes the source, and fails if any of its work goes on. The stores are in memory. The cases are in `testing.source_cases`, one module a
subject.
"""

from __future__ import annotations

from pkgindex_core.testing.source_cases.files import MetadataCases, SourceFileCases
from pkgindex_core.testing.source_cases.lives import AwayCases, SourceLifeCases
from pkgindex_core.testing.source_cases.projects import NamesCases, SourceProjectCases, UploadCases


class SourceContract(
    SourceProjectCases, NamesCases, UploadCases, SourceFileCases, MetadataCases, AwayCases, SourceLifeCases
):
    """Subclass, name it `Test…`, and provide the content of the source."""
