"""`pkgindex-serve update DIR…`: what pypiserver's `update` does. The commands that fetch newer versions go to standard output, and talk to standard error."""

from __future__ import annotations

import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import click

from pkgindex_core.commands.helping import command
from pkgindex_core.commands.telling import fail, talk
from pkgindex_core.errors import Refused
from pkgindex_core.names import ProjectName, normalized_or_none
from pkgindex_core.urls import masked, without_credentials
from pkgindex_http.commands.common import asynchronous

_MARKS: Final = {"newer": "u", "newest": ".", "absent": "e", "unknown": "?"}
_IN_A_LINE: Final = 40


def _taken(*flags: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Options of pypiserver's command that are accepted and have no effect here."""

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        for flag in reversed(flags):
            function = click.option(flag, metavar="TEXT", expose_value=False, help="Accepted, without effect.")(
                function
            )
        return function

    return decorate


def _index_url(_context: click.Context, _parameter: click.Parameter, word: str) -> str:
    try:
        url, _ = without_credentials(word)
    except Refused as error:
        raise click.BadParameter(f"{error.message}; write it as https://pypi.org/simple") from error
    if urlsplit(url).scheme not in {"http", "https"}:
        raise click.BadParameter(f"{url!r} is no http or https URL, such as https://pypi.org/simple")
    return word


@command()
@click.argument(
    "directories",
    metavar="DIR...",
    nargs=-1,
    required=True,
    type=click.Path(file_okay=False, exists=True, path_type=Path),
)
@click.option("-x", "--execute", is_flag=True, help="Run the commands too.")
@click.option(
    "-d",
    "--download-directory",
    type=click.Path(file_okay=False, path_type=Path),
    help="Where newer versions go.  [default: beside the older ones]",
)
@click.option("-u", "--allow-unstable", is_flag=True, help="Look at pre-releases and development releases too.")
@click.option(
    "--blacklist-file",
    "--ignorelist-file",
    "ignorelist",
    type=click.Path(dir_okay=False, exists=True, path_type=Path),
    help="Projects that are left alone, one a line; private ones belong here.",
)
@click.option(
    "--index-url",
    default="https://pypi.org/simple",
    show_default=True,
    callback=_index_url,
    help="The simple index that is asked.",
)
@click.option("-v", "--verbose", count=True, expose_value=False, help="Accepted, without effect.")
@_taken("--log-file", "--log-stream", "--log-frmt", "--hash-algo", "--backend")
@click.version_option(package_name="pkgindex", prog_name="pkgindex-serve")
@asynchronous
async def update(
    directories: tuple[Path, ...],
    execute: bool,
    download_directory: Path | None,
    allow_unstable: bool,
    ignorelist: Path | None,
    index_url: str,
) -> None:
    """Look for newer versions of what lies in directories, and print or run the `pip download` lines (pypiserver's command).

    Ends with status 1 when a project could not be asked for, or a command failed.
    """
    from pkgindex_http.pypiserver.updates import find_updates, newest_kept

    kept = newest_kept(directories, ignored=_ignored(ignorelist) if ignorelist else ())
    talk(f"checking {len(kept)} packages for newer version")
    count = 0

    def tell(asked: str) -> None:
        nonlocal count
        count += 1
        click.echo(_MARKS[asked], err=True, nl=count % _IN_A_LINE == 0)

    found = await find_updates(kept, index_url=index_url, unstable=allow_unstable, tell=tell)
    talk("\n")
    if found.absent:
        talk(f"no releases found at {masked(index_url)} for {', '.join(found.absent)}\n")
    is_good = True
    for each in found.updates:
        words = ["--no-deps", "-i", index_url, "-d", str(download_directory or each.kept.path.parent)]
        words.append(f"{each.kept.project}=={each.version}")
        click.echo(f"# update {each.kept.project} from {each.kept.version} to {each.version}")
        click.echo(f"pip -q download {shlex.join(words)}\n")
        is_good = (not execute or _run(words)) and is_good
    for project, reason in sorted(found.unknown.items()):
        talk(f"error: {project} could not be asked for: {reason}")
    if found.unknown or not is_good:
        sys.exit(1)


def _ignored(path: Path) -> set[ProjectName]:
    """The projects of a file; what stands behind # is a comment."""
    names: set[ProjectName] = set()
    for line in path.read_text(encoding="utf-8").splitlines():
        written = line.partition("#")[0].strip()
        name = normalized_or_none(written) if written else None
        if name is not None:
            names.add(name)
        elif written:
            # The line may mean a private project, and its name must not reach the upstream.
            fail(Refused(f"{path}: {written[:80]!r} is no name of a project", hint="write one name a line"))
    return names


def _run(words: Sequence[str]) -> bool:
    """Run pip; that of the search path first, as pypiserver does."""
    pip = shutil.which("pip")
    program = [pip] if pip else [sys.executable, "-m", "pip"]
    return subprocess.run([*program, "-q", "download", *words], check=False).returncode == 0
