"""The outsider's own tests: what its distribution offers keeps the promises of each role.

Run from an installed pkgindex in a directory of its own (tests/outsider/test_own_tests.py), as its author would.
"""

from __future__ import annotations

import os
import time
from typing import ClassVar

import pytest
from pkgindex_outsider.blobs import open_flat
from pkgindex_outsider.catalogue import catalogue_file
from pkgindex_outsider.rules import NoDevelopmentVersions, NoNightlies

from pkgindex_core.protocols import IndexOption, IndexType
from pkgindex_core.testing.blob_store import BlobStoreContract
from pkgindex_core.testing.index_options import IndexOptionContract, IndexTypeContract
from pkgindex_core.testing.page_filters import PageFilterContract
from pkgindex_core.testing.samples import sample_file
from pkgindex_core.testing.upload_checks import UploadCheckContract
from pkgindex_core.testing.wheels import build_wheel


class TestNoNightlies(PageFilterContract):
    hides = sample_file("demo-1.0-nightly.zip")
    shows = sample_file("demo-1.0.zip")

    def make(self):
        return NoNightlies(word="nightly")

    def others(self):
        return [NoNightlies(word="weekly"), NoNightlies(word="1.0")]


class TestNoDevelopmentVersions(UploadCheckContract):
    refuses = build_wheel("demo", "1.0.dev3")
    passes = build_wheel("demo", "1.0")

    def make(self):
        return NoDevelopmentVersions()


OPTION = IndexOption(parse=catalogue_file, types=("catalogue",), required=True)


class TestCatalogueFile(IndexOptionContract):
    key = "catalogue_file"
    accepts = ("tools.json",)
    refuses = ("../secret", "tools", 5, ["tools.json"])

    def make(self):
        return OPTION

    def types(self):
        return {"catalogue": IndexType(mirrored=True)}


class TestCatalogue(IndexTypeContract):
    kind = "catalogue"
    given: ClassVar = {"catalogue_file": "tools.json"}

    def make(self):
        return IndexType(mirrored=True)

    def options_of_the_plugin(self):
        return {"catalogue_file": OPTION}


class TestFlatBlobs(BlobStoreContract):
    locates = "path"

    @pytest.fixture(autouse=True)
    def _a_directory(self, tmp_path):
        self.flat = tmp_path / "flat"

    async def open_store(self, context):
        return await open_flat(self.flat.as_uri().replace("file", "outsider", 1), context)

    def peek(self, key):
        return (self.flat / key).read_bytes() if (self.flat / key).exists() else None

    def poke(self, key, data):
        (self.flat / key).write_bytes(data)

    def age(self, key, seconds):
        os.utime(self.flat / key, (time.time() - seconds,) * 2)

    def leftovers(self):
        return [path.name for path in (self.flat / "staging").iterdir()]

    def abandon(self, seconds):
        path = self.flat / "staging" / os.urandom(8).hex()
        path.write_bytes(b"half a wh")
        os.utime(path, (time.time() - seconds,) * 2)
