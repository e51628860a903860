"""`pkgindex-mirror bundle`: signed archives of what changed in a tree, for a network without a connection."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from pkgindex_core.commands.helping import group
from pkgindex_core.commands.telling import print_json, talk
from pkgindex_mirror.commands.trees_beside import json_option, reporting, root_option, size_of, working_on

_INBOX = click.Path(path_type=Path)
_key_option = click.option(
    "--key",
    "keys",
    required=True,
    multiple=True,
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="Public key of the near side; repeatable, for the time when it changes.",
)


@group()
def bundle() -> None:
    """Carry a tree over an air gap, in signed bundles of what changed."""


@bundle.command()
@click.argument("file", type=click.Path(path_type=Path))
@reporting
def keygen(file: Path) -> None:
    """Make a pair of keys: FILE signs and stays here, FILE.pub goes to the far side."""
    from pkgindex_mirror.bundles.keys import make_keys

    click.echo(f"{make_keys(file)}")


@bundle.command()
@root_option
@click.option("--out", required=True, metavar="DIR", type=click.Path(path_type=Path), help="Where the parts are put.")
@click.option("--key", required=True, metavar="FILE", type=click.Path(path_type=Path), help="The private key.")
@click.option(
    "--since", default="", metavar="SNAPSHOT", help="The state that the far side has.  [default: the last bundle]"
)
@click.option("--to", default="latest", metavar="SNAPSHOT", help="The state that it is to have.  [default: the newest]")
@click.option("--part-size", metavar="SIZE", help="The most bytes of a file, such as 700MiB.  [default: 4GiB]")
@click.option("--full", is_flag=True, help="Everything: begins a chain, or heals one.")
@click.option("--mirror", default="", metavar="NAME", help="Name of the mirror.  [default: that of the directory]")
@click.option(
    "--number",
    type=click.IntRange(1, 10**15),
    default=None,
    help="Number of a full bundle, when the list of bundles was lost.",
)
@click.option(
    "--again", type=click.IntRange(1), default=None, metavar="N", help="Create bundle N once more, byte for byte."
)
@click.option(
    "--diff-file",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="Write bandersnatch's list of changed files too.",
)
@json_option
@reporting
def create(
    root: Path,
    *,
    out: Path,
    key: Path,
    since: str,
    to: str,
    part_size: str | None,
    full: bool,
    mirror: str,
    number: int | None,
    again: int | None,
    diff_file: Path | None,
    as_json: bool,
) -> None:
    """Create the next bundle: what changed from one snapshot to another."""
    import msgspec

    from pkgindex_core.commands.progress import progress_bar
    from pkgindex_core.errors import Refused
    from pkgindex_mirror.bundles.creating import BundleOrder, create_bundle
    from pkgindex_mirror.bundles.keys import load_signer

    if again is not None and (since or full or number or to != "latest"):
        raise Refused("--again takes a bundle as it was", hint="leave --since, --to, --full and --number out")
    if full and since:
        raise Refused("a full bundle goes on from no snapshot", hint="leave --since out, or --full")
    if number is not None and not full:
        raise Refused("only a full bundle can be given a number", hint="add --full")
    default = 0 if again else size_of("4GiB")
    order = BundleOrder(
        out=out,
        part_size=size_of(part_size) if part_size is not None else default,
        mirror=mirror,
        since=since,
        to=to,
        full=full,
        number=number or 0,
        again=again or 0,
        diff_file=diff_file,
    )
    signer = load_signer(key)
    with working_on(root) as worked, progress_bar("Writing", in_bytes=True) as progress:
        done = create_bundle(worked.snapshots, worked.names.current(), signer, order, progress)
    if as_json:
        print_json(msgspec.to_builtins(done))
        return
    for file in done.files:
        click.echo(file)
    told = "full" if done.sent.full else f"goes on from {done.sent.after}"
    talk(
        f"bundle {done.sent.bundle} of mirror {done.mirror}, {told}:"
        f" {done.puts} files, {done.deletes} removals, {done.sent.bytes} bytes"
    )


@bundle.command("list")
@root_option
@json_option
@reporting
def list_bundles(root: Path, *, as_json: bool) -> None:
    """List the bundles that were created of a tree."""
    import msgspec

    from pkgindex_mirror.bundles.ledger import BundleLedger

    with working_on(root, reading=True) as worked:
        told = BundleLedger(worked.snapshots.places).read()
    if as_json:
        print_json(msgspec.to_builtins(told))
        return
    for each in told.bundles:
        what = "full" if each.full else f"after {each.after}"
        unfinished = "" if each.complete else "  (not complete: use --again)"
        click.echo(
            f"{each.bundle:>5}  snapshot {each.snapshot}  {what}  {each.parts} parts  {each.bytes} bytes{unfinished}"
        )


@bundle.command()
@click.argument("inbox", nargs=-1, required=True, type=_INBOX)
@_key_option
@json_option
@reporting
def verify(inbox: tuple[Path, ...], *, keys: tuple[Path, ...], as_json: bool) -> None:
    """Check the bundles in INBOX (directories and files): signatures, every byte, and the chain."""
    import tempfile

    from pkgindex_mirror.bundles.apply_bundle import read_key
    from pkgindex_mirror.bundles.apply_bundle import verify as check

    report = check(inbox, [read_key(place) for place in keys], tempfile.TemporaryFile)
    _tell(report.good, report.problems, report._asdict() if as_json else None)
    sys.exit(1 if report.problems or not report.good else 0)


@bundle.command()
@root_option
@click.argument("inbox", nargs=-1, required=True, type=_INBOX)
@_key_option
@click.option("--adopt", is_flag=True, help="Let a full bundle replace files that no bundle brought.")
@json_option
@reporting
def apply(root: Path, inbox: tuple[Path, ...], *, keys: tuple[Path, ...], adopt: bool, as_json: bool) -> None:
    """Apply the bundles in INBOX (directories and files) that fit, in the order of their chain.

    Run it again after an interruption. Exit status 1: something was refused.
    """
    from pkgindex_core.failpoints import failpoint
    from pkgindex_mirror.bundles.apply_bundle import Applier, apply_lines, read_key

    applier = Applier(root, [read_key(place) for place in keys], adopt=adopt, failpoint=failpoint)
    report = applier.apply_all(inbox)
    document = report._asdict() | {"state": report.state._asdict()}
    _tell(apply_lines(report, inbox), report.refused, document if as_json else None)
    sys.exit(1 if report.refused else 0)


@bundle.command()
@root_option
@click.argument("inbox", nargs=-1, type=_INBOX)
@_key_option
@json_option
@reporting
def status(root: Path, inbox: tuple[Path, ...], *, keys: tuple[Path, ...], as_json: bool) -> None:
    """Tell up to which bundle a tree is, and which bundles and parts are missing in INBOX."""
    from pkgindex_mirror.bundles.apply_bundle import read_key, status_lines
    from pkgindex_mirror.bundles.apply_bundle import status as look

    report = look(root, inbox, [read_key(place) for place in keys])
    document = report._asdict() | {"state": report.state._asdict()}
    _tell(status_lines(report), report.problems, document if as_json else None)
    sys.exit(1 if report.problems else 0)


@bundle.command()
@click.option(
    "-o",
    "--output",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="Where to write it.  [default: standard output]",
)
@reporting
def applier(output: Path | None) -> None:
    """Print the program for the far side: one file, which runs with plain Python 3.8 or later."""
    from importlib.resources import files

    text = (files("pkgindex_mirror.bundles") / "apply_bundle.py").read_bytes()
    if output is None:
        click.echo(text, nl=False)
    else:
        output.write_bytes(text)
        talk(f"python3 {output} apply --root DIR --key FILE.pub INBOX")


def _tell(results: list[str], problems: list[str], document: dict[str, object] | None) -> None:
    for problem in problems:
        talk(f"error: {problem}")
    if document is not None:
        print_json(document)
    else:
        for line in results:
            click.echo(line)
