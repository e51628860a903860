"""A run over a tree in a process of its own, which a test kills at a failpoint: `python -m … DIRECTORY [OPTIONS]`."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Sequence

import msgspec

from pkgindex_core import failpoints
from pkgindex_mirror.trees.options import TreeOptions
from tests.mirror.mirror_trees.mirrors import Imagined, imagined, sync

OPTIONS = TreeOptions(json=True)


def before() -> Sequence[Imagined]:
    return [
        imagined("alpha-one", "1.0", "1.1", serial=1, document=True),
        imagined("gone", "1.0", serial=2, document=True),
    ]


def after() -> Sequence[Imagined]:
    return [
        imagined("alpha-one", "1.1", "1.2", serial=5, document=True, yanked="why"),
        imagined("new", "1.0", serial=6, size=2_500_000, document=True),
    ]


def main() -> None:
    failpoints.arm(os.environ["PKGINDEX_FAILPOINTS"])
    options = msgspec.json.decode(sys.argv[2], type=TreeOptions) if len(sys.argv) > 2 else OPTIONS
    asyncio.run(sync(sys.argv[1], after(), options, gone=["gone"]))


if __name__ == "__main__":
    main()
