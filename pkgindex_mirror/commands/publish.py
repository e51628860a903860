"""`pkgindex-mirror publish`: an index, or a list of packages, as a tree of files that any web server serves."""

from __future__ import annotations

import re
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

import click
import msgspec

from pkgindex_core.commands.helping import command
from pkgindex_core.commands.stores import asynchronous, taking_settings
from pkgindex_core.commands.telling import print_json, talk, tell
from pkgindex_core.config import Settings
from pkgindex_core.errors import PkgIndexError, Refused
from pkgindex_mirror.commands.common import library_settings

if TYPE_CHECKING:
    from pkgindex_mirror.static.publishing import Order
    from pkgindex_mirror.static.reports import PublishReport

_DEFAULT_TITLE: Final = "My Private PyPI"
_URL: Final = re.compile(r"[A-Za-z0-9._~!$&'()*+,;=:@%/\[\]-]+").fullmatch
"""The characters of RFC 3986, 2.2 and 2.3, without those that end a path."""


@command()
@taking_settings(library_settings)
@click.argument("index", default="")
@click.option(
    "--to", "target", metavar="URL", help="Where the tree goes: a directory, s3://bucket/prefix, gs://bucket/prefix."
)
@click.option(
    "--as", "reader", metavar="USER", default="", help="Publish what this user may read.  [default: what everybody may]"
)
@click.option(
    "--include-mirrors",
    type=click.Choice(["none", "stored"]),
    default="none",
    show_default=True,
    help="Files of mirrors: none, or those that are stored here.",
)
@click.option(
    "--packages-url",
    metavar="URL",
    default="",
    help="Leave the files where they are: at a server of this index, or (of a list) in one directory.",
)
@click.option(
    "--package-list", metavar="FILE", help="Publish a list of file names instead of an index; - is standard input."
)
@click.option("--package-list-json", metavar="FILE", help="The same with a JSON object a line.")
@click.option(
    "--previous-package-list",
    metavar="FILE",
    help="Not needed: the tree knows what it holds. For dumb-pypi's command lines.",
)
@click.option("--previous-package-list-json", metavar="FILE", hidden=True)
@click.option("--output-dir", metavar="DIR", help="The same as --to, in dumb-pypi's words.")
@click.option("--title", default=_DEFAULT_TITLE, show_default=True, help="The title of the home page.")
@click.option("--logo", metavar="URL", default="", help="An image for the top of the pages.")
@click.option("--logo-width", metavar="PIXELS", type=int, default=0, help="Its width.")
@click.option(
    "--no-generate-timestamp",
    is_flag=True,
    help="As always: equal content gives equal bytes, and no page says when it was made.",
)
@click.option("--no-per-release-json", is_flag=True, help="Leave out pypi/NAME/VERSION/json.")
@click.option("--full", is_flag=True, help="Write everything again, whatever the tree says that it has.")
@click.option("--dry-run", is_flag=True, help="Change nothing; tell what would be done.")
@click.option("--follow", is_flag=True, help="Keep running, and publish each change as soon as it is made.")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON document.")
@asynchronous
async def publish(settings: Settings, *, as_json: bool, **given: Any) -> None:
    """Publish INDEX (user/name) as static files that any web server or bucket serves.

    A second run writes what has changed since, and removes what is no more.
    """
    from pkgindex_core.commands.progress import progress_bar
    from pkgindex_mirror.static.publishing import follow_index, publish_index, publish_list

    order, source = _order(given)
    if given["follow"]:
        await follow_index(order, settings, told=partial(_tell, order, as_json=as_json, following=True))
        return
    with progress_bar("Publishing") as progress:
        if order.index:
            done = await publish_index(order, settings, progress=progress)
        else:
            packages = _packages(source, as_json=given["package_list_json"] is not None)
            for problem in packages.left_out:
                talk(f"{problem} (skipping package)")
            done = await publish_list(order, packages, settings, progress=progress)
    _tell(order, done, as_json=as_json)


def _tell(order: Order, outcome: PublishReport | PkgIndexError, *, as_json: bool, following: bool = False) -> None:
    """Print the outcome of a run. With `following` a run that changed nothing prints nothing."""
    if isinstance(outcome, PkgIndexError):
        tell(outcome)
        return
    if following and not (outcome.whole or outcome.objects or outcome.files or outcome.removed):
        return
    would = "would be " if outcome.dry_run else ""
    talk(
        f"{order.shown}: {outcome.projects} projects, {outcome.looked_at} looked at; {outcome.objects} pages and {outcome.files} files"
        f" {would}written, {outcome.removed} {would}removed"
    )
    if as_json:
        print_json(msgspec.to_builtins(outcome))


def _order(given: dict[str, Any]) -> tuple[Order, str]:
    """Read the order from the options, and the file of the list. Raises one `Refused` with all contradictions."""
    from pkgindex_core.names import parse_index_name
    from pkgindex_mirror.static.publishing import Order
    from pkgindex_mirror.static.shared_pages import SiteLook

    lists = [each for each in (given["package_list"], given["package_list_json"]) if each is not None]
    targets = [each for each in (given["target"], given["output_dir"]) if each]
    problems = []
    if len(lists) + bool(given["index"]) != 1:
        problems.append("name one thing to publish: an INDEX, --package-list, or --package-list-json")
    if len(targets) != 1:
        problems.append("say once where the tree goes, with --to or --output-dir")
    if lists and not given["packages_url"]:
        problems.append("a list says nothing of where its files are: add --packages-url")
    if given["packages_url"] and not _leads_to_directory(given["packages_url"]):
        problems.append(
            f"--packages-url {given['packages_url']} is no URL of a directory: write https://host/path/ or a path, percent-encoded,"
            " without ? and #"
        )
    if lists and (given["reader"] or given["include_mirrors"] != "none"):
        problems.append("--as and --include-mirrors are about an index, not about a list")
    if given["follow"] and (lists or given["dry_run"]):
        problems.append(
            "--follow is about the commits of an index, and a list or a dry run has none: leave --follow out"
        )
    index = ""
    try:
        index = parse_index_name(given["index"]) if given["index"] else ""
    except PkgIndexError as error:
        problems.append(f"{error.message}: {error.hint}" if error.hint else error.message)
    if problems:
        raise Refused(problems, hint="pkgindex-mirror publish --help")
    order = Order(
        index=index,
        target=targets[0],
        reader=given["reader"],
        mirrors=given["include_mirrors"] == "stored",
        packages_url=given["packages_url"],
        site=SiteLook(title=given["title"], logo=given["logo"], logo_width=given["logo_width"]),
        per_release=not given["no_per_release_json"],
        full=given["full"],
        dry_run=given["dry_run"],
    )
    return order, lists[0] if lists else ""


def _leads_to_directory(url: str) -> bool:
    """Whether names of files can be put behind a URL, and installers follow it."""
    try:
        return _URL(url) is not None and urlsplit(url).scheme in {"", "http", "https", "file"}
    except ValueError:
        return False


def _packages(source: str, *, as_json: bool) -> Any:
    from pkgindex_core.formats.package_lists import read_package_list

    try:
        data = sys.stdin.buffer.read() if source == "-" else Path(source).read_bytes()
    except OSError as error:
        raise Refused(f"{source} cannot be read: {error.strerror}") from error
    return read_package_list(data, as_json=as_json)
