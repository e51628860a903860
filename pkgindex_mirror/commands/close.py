"""`pkgindex-mirror close`: everything that installs some projects, for given Pythons and platforms."""

from __future__ import annotations

import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from msgspec.structs import replace

from pkgindex_core.commands.helping import command
from pkgindex_core.commands.stores import asynchronous, taking_settings
from pkgindex_core.commands.telling import fail, talk
from pkgindex_core.config import Settings
from pkgindex_core.errors import Refused, StorageFull, Unavailable
from pkgindex_mirror.commands.common import library_settings
from pkgindex_mirror.commands.configurations import configuration_before

if TYPE_CHECKING:
    from pkgindex_mirror.closing.closure import Closure

_SHOWN = 10
"""The most sentences about unknown dependencies that are printed."""


@command()
@taking_settings(library_settings)
@click.argument("names", nargs=-1, metavar="[NAME]...")
@click.option(
    "--requirement",
    "-r",
    "files",
    metavar="FILE",
    multiple=True,
    type=click.Path(path_type=Path),
    help="Close over what FILE wants: requirements.txt, pylock.toml, uv.lock, poetry.lock, Pipfile.lock or morgan.ini; repeatable.",
)
@click.option(
    "--constraint",
    "-c",
    "constraints",
    metavar="FILE",
    multiple=True,
    type=click.Path(path_type=Path),
    help="Leave out versions that FILE, a requirements file, does not permit, of all projects; repeatable."
    " -c is as in pip and uv here, and not the configuration of a mirror, which `close` does not read.",
)
@click.option(
    "--python",
    "pythons",
    metavar="X.Y",
    multiple=True,
    help="For this Python, such as 3.12, 3.12.4, 3.13t or pypy3.11; repeatable.  [default: this one]",
)
@click.option(
    "--platform",
    "platforms",
    metavar="NAME",
    multiple=True,
    help="For this platform, such as linux, musllinux-aarch64, macos, windows, or a tag such as manylinux_2_28_x86_64; repeatable."
    "  [default: this one]",
)
@click.option(
    "--mode",
    type=click.Choice(["all", "newest", "locked"]),
    default="all",
    show_default=True,
    help="Every version that could be needed; the newest for each requirement; or exactly the files of lock files.",
)
@click.option(
    "--sdists",
    type=click.Choice(["needed", "always", "never"]),
    default="needed",
    show_default=True,
    help="Source distributions: where no wheel fits, always, or never.",
)
@click.option(
    "--explain", "explained", metavar="NAME", default="", help="Tell what asked for NAME, and print nothing else."
)
@click.option(
    "--from",
    "former",
    metavar="FILE",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Print or explain the closure in FILE, without asking the upstream.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the closure as a JSON document.")
@click.option(
    "--upstream", metavar="URL", default="", help="The simple index to ask.  [default: the setting `upstream`]"
)
@click.option("--ca-file", default="", help="Certificates (PEM) to trust instead of the system's.")
@click.option(
    "--allow-network", "networks", multiple=True, help="A private network that links may lead to; repeatable."
)
@click.option(
    "--output",
    "-o",
    metavar="FILE",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write the closure to FILE, from which a mirror can be filled.",
)
@click.option(
    "--cache",
    metavar="DIR",
    type=click.Path(path_type=Path, file_okay=False),
    help="Keep pages and metadata here for the next run.  [default: closing in the data directory]",
)
@asynchronous
async def close(
    settings: Settings, *, explained: str, as_json: bool, output: Path | None, former: Path | None, **given: Any
) -> None:
    """Find everything that installs NAME... and what FILE wants: projects, versions and files, with all dependencies.

    Nothing is downloaded but pages and metadata, and source distributions, which have theirs inside. Exit status 3: something that was
    asked for has no version that fits; 4: the upstream could not be asked; 5: a disk is full; then nothing is written.
    """
    if configuration_before(click.get_current_context()) is not None:
        raise click.UsageError(
            "`close` reads no configuration of a mirror; behind it -c names a file of constraints, as for pip"
        )
    from pkgindex_core.names import parse_project_name
    from pkgindex_mirror.closing.closure import encode_closure, read_closure, write_closure
    from pkgindex_mirror.closing.explaining import explained as explanation

    name = parse_project_name(explained) if explained else None
    if former is not None:
        if given["names"] or given["files"]:
            raise Refused("--from names a closure, so no projects can be named", hint="leave out the names and -r")
        closure = read_closure(former)
    else:
        try:
            closure = await _closed(settings, **given)
        except StorageFull as error:
            fail(error, status=5)
        except Unavailable as error:
            fail(error, status=4)
    if output is not None:
        write_closure(output, closure)
    if name is not None:
        for line in explanation(closure, name):
            click.echo(line)
    elif as_json:
        click.echo(encode_closure(closure).decode(), nl=False)
    else:
        _print_table(closure)
    lost = _tell_problems(closure)
    if lost:
        sys.exit(3)


async def _closed(
    settings: Settings,
    *,
    names: tuple[str, ...],
    files: tuple[Path, ...],
    constraints: tuple[Path, ...],
    pythons: tuple[str, ...],
    platforms: tuple[str, ...],
    mode: Any,
    sdists: Any,
    upstream: str,
    ca_file: str,
    networks: tuple[str, ...],
    cache: Path | None,
) -> Closure:
    from pkgindex_core.commands.progress import progress_bar
    from pkgindex_mirror.closing.closing import close_over
    from pkgindex_mirror.closing.inputs import read_constraints, read_inputs
    from pkgindex_mirror.closing.install_targets import read_targets
    from pkgindex_mirror.closing.morgan_targets import targets_of
    from pkgindex_mirror.closing.upstream_metadata import opened_upstream
    from pkgindex_mirror.settings import read_settings

    read = read_inputs(names, files)
    is_open = not pythons and not platforms
    targets = targets_of(read.environments) if is_open and read.environments else read_targets(pythons, platforms)
    bounds = read_constraints(constraints, targets)
    for line in read.left_out:
        talk(f"{line} (left out)")
    configured = read_settings(settings.plugins.get("mirror", {}))
    mirror = replace(
        configured,
        ca_file=ca_file or configured.ca_file,
        allow_networks=(*configured.allow_networks, *networks),
    )
    if cache is None:
        with suppress(OSError):  # then nothing is kept
            settings.data.mkdir(mode=0o700, parents=True, exist_ok=True)
    directory = cache or settings.data / "closing"
    async with opened_upstream(upstream or settings.upstream, mirror, directory) as source:
        with progress_bar("Reading metadata of") as progress:
            return await close_over(
                read.wanted,
                source,
                targets,
                mode=mode,
                constraints=bounds,
                whole=is_open and not read.environments,
                sdists=sdists,
                progress=progress,
            )


def _print_table(closure: Closure) -> None:
    from pkgindex_mirror.closing.closure_tables import table

    for line in table(closure):
        click.echo(line)


def _tell_problems(closure: Closure) -> int:
    """Tell of requirements of the user that nothing satisfies, and return their number. Tell of what is not known."""
    lost = [each for each in closure.unmet if any(asker.where for asker in each.askers)]
    for each in lost:
        places = ", ".join(asker.where for asker in each.askers if asker.where)
        on = ", ".join(closure.targets[target] for target in each.targets)
        reason = (
            "the index has no such project" if each.missing else f"no version fits {on}" if on else "not in the index"
        )
        talk(f"error: {each.requirement} ({places}): {reason}")
    others = len(closure.unmet) - len(lost)
    if others:
        talk(
            f"{others} requirements of some versions are satisfied by nothing; those versions install only elsewhere, or not at all"
        )
    unknown = closure.unknown
    for line in unknown[:_SHOWN]:
        talk(line)
    if len(unknown) > _SHOWN:
        talk(f"… and {len(unknown) - _SHOWN} more versions of which something is not known (--json lists them)")
    return len(lost)
