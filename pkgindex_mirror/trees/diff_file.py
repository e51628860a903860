"""The list of paths that runs have written, as bandersnatch's `diff-file`: one absolute path a line, for rsync or an archiver.

The paths are remembered in the rows, in the transactions that speak of them (`TreeOptions.remember_changes`). So the list of a run that was
killed is not lost: it is written together with the list of the next run. Pages come before the files that they name.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from pkgindex_core.clock import Clock
from pkgindex_core.engines.local.file_operations import in_worker
from pkgindex_mirror.trees.tree_target import MirrorTree

_NAME: Final = "mirrored-files"


async def write_diff_file(tree: MirrorTree, to: Path, root: str, *, append_epoch: bool, clock: Clock) -> Path | None:
    """Write the paths since the last list, each below `root`; return where they were written, None when there are none.

    `to`: a file, or a directory, in which the file is called `mirrored-files`. `append_epoch` puts the seconds since 1970 behind its name.
    """
    paths: list[str] = []
    last = 0
    while batch := await tree.rows.changed_after(last):
        paths.extend(path for _, path in batch)
        last = batch[-1][0]

    def write() -> Path:
        place = to.with_name(f"{to.name}-{clock.now() // 1_000_000}") if append_epoch else to
        place.parent.mkdir(parents=True, exist_ok=True)
        if place.is_dir():
            place /= _NAME
        new = place.with_name(f".{place.name}.new")
        new.write_text(_lines(paths, root), encoding="utf-8", errors="surrogateescape")
        new.replace(place)
        return place

    written = await in_worker(tree.parts.workers, "writing the diff file", write, place="the diff file")
    await tree.rows.forget_changed(last)
    return written if paths else None


def _lines(paths: Sequence[str], root: str) -> str:
    return "\n".join(f"{root.rstrip('/')}/{path}" for path in paths)
