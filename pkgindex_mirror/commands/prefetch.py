"""`pkgindex-mirror prefetch`: brings what requirements and lock files want into the cache, before it is needed."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Final

import click

from pkgindex_core.commands.helping import command
from pkgindex_core.commands.stores import asynchronous, opened, taking_settings
from pkgindex_core.commands.telling import print_json, talk
from pkgindex_core.config import Settings
from pkgindex_core.errors import Refused
from pkgindex_mirror.commands.common import library_settings

_CACHE: Final = ("pkgindex", "proxy")
"""The end of the path of a cache, below the user's cache directory."""


@command()
@taking_settings(library_settings)
@click.argument("files", nargs=-1, required=True, metavar="FILE...", type=click.Path(path_type=Path))
@click.option(
    "--index",
    metavar="USER/INDEX",
    default="",
    help="The index to fetch through.  [default: the one of the cache, or the default index]",
)
@click.option(
    "--python-version",
    "pythons",
    metavar="X.Y",
    multiple=True,
    help="Fetch for this Python; repeatable.  [default: this one]",
)
@click.option(
    "--platform",
    "platforms",
    metavar="TAG",
    multiple=True,
    help="Fetch wheels for this platform, such as manylinux_2_28_x86_64; repeatable, the best first.  [default: this one]",
)
@click.option("--all-files", is_flag=True, help="Fetch all files of each version: every platform, and the sources.")
@click.option("--no-deps", is_flag=True, help="Fetch what the files name, without the dependencies of that.")
@click.option(
    "--pin/--unpin",
    default=None,
    help="Keep the files in a cache that has a bound, or let them be removed again.  [default: as they are]",
)
@click.option("--json", "as_json", is_flag=True, help="Print a JSON document.")
@asynchronous
async def prefetch(
    settings: Settings,
    *,
    files: tuple[Path, ...],
    index: str,
    pythons: tuple[str, ...],
    platforms: tuple[str, ...],
    all_files: bool,
    no_deps: bool,
    pin: bool | None,
    as_json: bool,
) -> None:
    """Fetch what FILE wants: requirements.txt, pylock.toml, uv.lock, poetry.lock or Pipfile.lock.

    Pages, metadata and files are stored, for a plane or for `--offline`. Run it again to go on after an interruption.
    With the directory of `pkgindex-mirror proxy` as `--data`, the upstreams and settings of its last start are used.
    """
    import msgspec
    from msgspec.structs import replace
    from packaging.version import InvalidVersion

    from pkgindex_core.commands.progress import progress_bar
    from pkgindex_core.names import parse_index_name
    from pkgindex_core.tools.served_cache import noted_cache
    from pkgindex_mirror.prefetching.choosing import targets
    from pkgindex_mirror.prefetching.lock_files import read_wanted
    from pkgindex_mirror.prefetching.prefetching import Prefetching

    _check_place(settings.data)
    read = [read_wanted(path) for path in files]
    try:
        chosen = targets(pythons, platforms)
    except InvalidVersion as error:
        raise Refused(f"--python-version: {error}", hint="write it as 3.12") from error
    for line in (line for each in read for line in each.left_out):
        talk(f"{line} (left out)")
    async with opened(settings, create=True) as engine:
        cache = await noted_cache(engine.store)
    if cache is not None:
        index = index or cache.index
        mirror = {**cache.mirror, **settings.plugins.get("mirror", {})}
        settings = replace(settings, admission=cache.admission, plugins={**settings.plugins, "mirror": mirror})
    async with opened(settings, mirrors=True, create=True) as engine:
        with progress_bar("Fetching") as progress:
            done = await Prefetching(
                engine,
                parse_index_name(index or settings.default_index),
                chosen,
                everything=all_files,
                dependencies=not no_deps,
                constraints=[limit for each in read for limit in each.constraints],
                pin=pin,
                progress=progress,
            ).run(wanted for each in read for wanted in each.wanted)
    for remark in done.remarks:
        talk(remark)
    for failure in done.failures:
        talk(f"error: {failure}")
    stored = done.files - done.fetched
    talk(
        f"{done.projects} projects, {done.files} files, {done.bytes / 1_000_000:.1f} MB: {done.fetched} fetched, {stored} stored before"
    )
    if as_json:
        print_json(msgspec.to_builtins(done))
    if done.failures:
        sys.exit(1)


def _check_place(data: Path) -> None:
    """Refuse to make the indexes of a server in the directory of the cache, which would not start with those."""
    if data.parts[-2:] == _CACHE and not any(data.glob("*")):
        raise Refused(
            f"{data} is no cache yet", hint="start `pkgindex-mirror proxy` once before: its upstreams are used"
        )
