"""Parts of the commands that run a mirror: the event loop, the live view, the status, the report, and the exit status."""

from __future__ import annotations

import asyncio
import gc
import sys
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click
import msgspec

from pkgindex_core.commands.telling import fail, print_json, talk
from pkgindex_core.errors import Missing, PkgIndexError, StorageFull

if TYPE_CHECKING:
    from pkgindex_mirror.bandersnatch.values import MirrorConfiguration
    from pkgindex_mirror.commands.mirror_orders import MirrorOrder
    from pkgindex_mirror.commands.opened_mirrors import OpenedMirror
    from pkgindex_mirror.syncing.reports import RunReport
    from pkgindex_mirror.syncing.running import MirrorRun

Result = TypeVar("Result")

_GARBAGE: Final = 50_000
"""New objects after which a run looks for garbage among them."""

report_option = click.option(
    "--report",
    "report_file",
    metavar="FILE",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write the report of the run to this file too, as JSON.",
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print a JSON document.")
debug_option = click.option("--debug", is_flag=True, help="Log what is done, to standard error.")


def run_loop(work: Coroutine[Any, Any, Result]) -> Result:
    """Run a coroutine in the fastest event loop that there is. A `PkgIndexError` becomes two lines, and exit status 1, 2 for a mirror that is not there, or 5 for a full disk."""
    try:
        with garbage_seldom_sought(), asyncio.Runner(loop_factory=_loop_factory()) as runner:
            return runner.run(work)
    except PkgIndexError as error:
        fail(error, status=5 if isinstance(error, StorageFull) else 2 if isinstance(error, Missing) else 1)
    except KeyboardInterrupt:
        talk("stopped; the next run goes on")
        sys.exit(130)


@contextmanager
def garbage_seldom_sought() -> Iterator[None]:
    """Look for garbage seldom. A run makes very many objects, and hardly any that refer to themselves."""
    before = gc.get_threshold()
    gc.set_threshold(_GARBAGE, *before[1:])
    try:
        yield
    finally:
        gc.set_threshold(*before)


def perform(
    order: MirrorOrder,
    command: str,
    work: Callable[[MirrorRun], Awaitable[RunReport]],
    *,
    as_json: bool,
    report_file: Path | None,
    debug: bool,
) -> None:
    """Run a mirror by `work`, tell what was done, and exit with the status that says so."""
    from pkgindex_mirror.commands.report_lines import report_lines

    begin_logging(debug=debug)
    report = run_loop(_performed(order, command, work))
    for sentence in report_lines(report):
        talk(sentence)
    if as_json:
        print_json(msgspec.to_builtins(report))
    is_written = report_file is None or _write_report(report, report_file)
    sys.exit(_exit_status(report, order.configuration) or (0 if is_written else 1))


def _write_report(report: RunReport, to: Path) -> bool:
    try:
        to.write_bytes(msgspec.json.format(msgspec.json.encode(report), indent=2))
    except OSError as error:
        talk(f"error: the report cannot be written to {to}: {error.strerror}")
        return False
    return True


def begin_logging(*, debug: bool) -> None:
    """Send the log to standard error, unless a configuration of logging says otherwise."""
    import logging

    logging.basicConfig(level=logging.DEBUG if debug else logging.ERROR, format="%(levelname)s %(name)s: %(message)s")


async def _performed(order: MirrorOrder, command: str, work: Callable[[MirrorRun], Awaitable[RunReport]]) -> RunReport:
    from pkgindex_mirror.commands.live_view import watching
    from pkgindex_mirror.commands.opened_mirrors import mirror_run, opened_mirror, opened_upstream
    from pkgindex_mirror.syncing.reports import RunReport
    from pkgindex_mirror.syncing.run_status import telling_status

    report = RunReport(command=command)
    async with opened_mirror(order, Path.cwd(), "make") as mirror:
        for caution in mirror.cautions:
            talk(f"warning: {caution}")
        async with (
            mirror.target.turn(),
            opened_upstream(mirror) as upstream,
            telling_status(mirror.status_directory, mirror.progress, report, mirror.clock),
            watching(mirror.progress),
        ):
            await work(mirror_run(mirror, upstream, report))
            try:
                await write_changes(mirror)
            except PkgIndexError as error:  # the paths are in the list of the next run
                report.ending = "partial" if report.ending == "clean" else report.ending
                report.message = report.message or error.message
    return report


async def write_changes(mirror: OpenedMirror) -> None:
    """Write the paths that were written to the `diff-file`, if the configuration names one."""
    from pkgindex_mirror.trees.diff_file import write_diff_file
    from pkgindex_mirror.trees.opening import local_directory

    configuration = mirror.configuration
    if configuration.diff_file and mirror.has_tree:
        directory = local_directory(configuration.url)
        await write_diff_file(
            mirror.tree,
            Path(configuration.diff_file),
            str(directory) if directory is not None else configuration.url,
            append_epoch=configuration.diff_append_epoch,
            clock=mirror.clock,
        )


def _exit_status(report: RunReport, configuration: MirrorConfiguration) -> int:
    if report.exit_status and configuration.does_as_bandersnatch("exit-codes"):
        return 0 if report.ending == "partial" else 1
    return report.exit_status


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    try:
        import uvloop
    except ImportError:  # Windows
        return None
    return uvloop.new_event_loop
