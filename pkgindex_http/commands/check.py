"""`pkgindex-serve check`: does an index do what clients rely on?"""

from __future__ import annotations

import asyncio
import os
import sys
from base64 import b64encode
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

import click

from pkgindex_core.commands.helping import command
from pkgindex_core.commands.telling import fail, print_json, talk
from pkgindex_core.errors import Refused, Unavailable

if TYPE_CHECKING:
    from pkgindex_http.checking.outcomes import CheckReport

_FAILED, _UNREACHABLE = 1, 4
_PASSWORD: Final = "PKGINDEX_CHECK_PASSWORD"  # noqa: S105 - the name of a variable


@command()
@click.argument("url")
@click.option("--project", default="", metavar="NAME", help="The project to look at.  [default: one with a wheel]")
@click.option("--upload", is_flag=True, help="Publish a wheel of a new project too. It stays there.")
@click.option("--index", "upload_url", default="", metavar="URL", help="Where uploads go.  [default: guessed from URL]")
@click.option("--user", default="", help=f"The user, with a password in {_PASSWORD} or typed.")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON document.")
@click.option(
    "--junit", type=click.Path(path_type=Path, dir_okay=False), help="Write the report to this file, as JUnit does."
)
@click.option(
    "--timeout", default=30.0, show_default=True, type=click.FloatRange(min=0.1), help="Seconds for one request."
)
@click.option(
    "--requests", "most", default=500, show_default=True, type=click.IntRange(min=1), help="The most requests."
)
def check(
    url: str,
    project: str,
    upload: bool,
    upload_url: str,
    user: str,
    as_json: bool,
    junit: Path | None,
    timeout: float,
    most: int,
) -> None:
    """Check the simple index at URL, of any server, by the standards, and tell what each failure means for pip, uv, poetry and twine.

    Nothing is changed without --upload. Exit status: 0 when no row fails, 1 when some fail, 2 for wrong arguments, 4 when the index cannot be asked.
    """
    root = f"{url.rstrip('/')}/"
    if urlsplit(root).scheme not in {"http", "https"} or not urlsplit(root).netloc:
        raise click.UsageError(f"{url!r} is not a URL of a simple index, such as https://example.org/simple/")
    if upload and not user:
        raise click.UsageError("--upload needs --user")
    password = os.environ.get(_PASSWORD) or (click.prompt("Password", hide_input=True, err=True) if user else "")
    target = (upload_url or _guessed(root)) if upload else ""
    try:
        report = asyncio.run(_checked(root, project, target, user, password, timeout, most))
    except (Unavailable, Refused) as error:
        fail(error, status=_UNREACHABLE if isinstance(error, Unavailable) else 2)
    if junit is not None:
        junit.write_text(report.junit())
    if as_json:
        print_json(report.document())
    else:
        _show(report)
    sys.exit(_FAILED if report.failed else 0)


async def _checked(
    root: str, project: str, upload_url: str, user: str, password: str, timeout: float, most: int
) -> CheckReport:
    import aiohttp

    from pkgindex_http.checking.address_rows import ADDRESS_ROWS
    from pkgindex_http.checking.asking import CheckClient
    from pkgindex_http.checking.content_rows import CONTENT_ROWS
    from pkgindex_http.checking.file_rows import FILE_ROWS
    from pkgindex_http.checking.outcomes import run_rows
    from pkgindex_http.checking.subjects import find_subject
    from pkgindex_http.checking.upload_rows import Publishing

    rows = [*ADDRESS_ROWS, *CONTENT_ROWS, *FILE_ROWS]
    if upload_url:
        rows += Publishing(upload_url).rows()
    credentials = b64encode(f"{user}:{password}".encode()).decode() if user else ""
    limits = aiohttp.ClientTimeout(total=timeout)
    headers = {"User-Agent": "pkgindex-check", "Accept-Encoding": "identity"}
    async with aiohttp.ClientSession(
        timeout=limits, auto_decompress=False, skip_auto_headers=["Accept"], headers=headers
    ) as session:
        asking = CheckClient(session, root, credentials=credentials, most=most)
        return await run_rows(rows, await find_subject(asking, root, project))


def _guessed(root: str) -> str:
    """Where uploads of an index go: devpi's and pypiserver's at the index, PyPI's beside it."""
    if root.endswith("/+simple/"):
        return root.removesuffix("+simple/")
    return f"{root.removesuffix('simple/')}legacy/" if root.endswith("/simple/") else root


def _show(report: CheckReport) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE, title=f"{report.url}, project {report.project}", title_justify="left")
    for title in ("row", "requirement", "", "what was seen, and what it means"):
        table.add_column(title, overflow="fold")
    marks = {"passes": "ok", "fails": "FAILS", "advised": "advice", "skipped": "-"}
    styles = {"passes": "", "fails": "bold red", "advised": "yellow", "skipped": "dim"}
    for each in report.outcomes:
        told = f"{each.problem}\n-> {each.means}" if each.means else each.problem
        table.add_row(each.number, each.title, Text(marks[each.verdict], style=styles[each.verdict]), Text(told))
    Console(soft_wrap=False).print(table)
    talk(f"{len(report.failed)} of {len(report.outcomes)} rows fail, {len(report.advised)} give advice")
