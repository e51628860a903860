"""Valid but odd trees, files and pages, for suites of policies, filters and renderers."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from pkgindex_core.digests import sha256_of
from pkgindex_core.formats.fragments import page_row
from pkgindex_core.models import File, IndexConfig, PageHead, Serial, Tree
from pkgindex_core.names import IndexName
from pkgindex_core.protocols import MergedPage, PageEntry
from pkgindex_core.testing.configs import mirror_config
from pkgindex_core.testing.index_cases.values import DEMO, DEV, MIRROR, NOWHERE, PROD

HERE: Final = "../../"
"""The relative URL from a page to the root of its index."""


def tree_of(*configs: IndexConfig) -> Tree:
    """A tree of these indexes."""
    return Tree(serial=Serial(1), indexes={config.name: config for config in configs})


TREE: Final = tree_of(
    IndexConfig(name=DEV, bases=(PROD, MIRROR, NOWHERE)),
    IndexConfig(name=PROD, bases=(DEV,)),
    mirror_config(MIRROR, "https://example.org/simple/"),
)
"""`DEV` inherits from `PROD`, from `MIRROR` and from an index that does not exist; `PROD` inherits from `DEV`, in a circle."""


def sample_file(filename: str, version: str = "1.0") -> File:
    """A hosted file. Files of different names have different digests."""
    return File(filename=filename, version=version, digests={"sha256": sha256_of(filename.encode())}, size=4)


ODD_FILES: Final = (
    File(filename="", version="1.0"),  # stands for a version without files
    File(filename="demo-1.0.tar.gz"),
    File(filename="demo", version="not a version"),
    File(filename="démo-1.0-py3-none-any.whl", version="1.0"),
    File(filename="demo 1.0.zip", version="1!1.0.post1.dev2+local.7", size=0),
    File(filename="demo-1.0.exe", version="1.0", digests={"md5": "0" * 32}, url="https://example.org/demo-1.0.exe"),
    File(filename="d" * 400 + "-1.0.zip", version="9" * 400, requires_python=">=3.8,<4", yanked="a <reason>"),
    File(filename="demo-1.0-\"<b>&amp;'.zip", version="1.0rc1", requires_python="nonsense", yanked=True),
    File(filename="demo-1.0%20#x?y.zip", version="2004d", metadata_offered=True, provenance="https://example.org/p"),
    File(filename="javascript:demo-1.0\n.zip", version="1.0", gpg_sig=True),
)
"""Valid files that an upstream or an old upload may have."""


def sample_page(
    files: Iterable[File], *, prefix: str = HERE, origin: IndexName = DEV, head: PageHead | None = None
) -> MergedPage:
    """A page of the project `demo` with these files, all from one index."""
    entries = [PageEntry(prefix, origin, page_row(file)) for file in files]
    versions = tuple(sorted({entry.row.version for entry in entries if entry.row.version}))
    return MergedPage(project=DEMO, head=head or PageHead(), versions=versions, entries=entries, serial=Serial(7))


def is_a_sentence(text: object) -> bool:
    """Whether a text can stand as a reason in one line of `explain`, a log or a header."""
    return isinstance(text, str) and bool(text.strip()) and text.isprintable()
