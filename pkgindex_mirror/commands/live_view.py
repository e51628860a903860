"""Shows how a run goes on, on standard error: a view that renews itself on a terminal, and a line now and then elsewhere."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Final

from pkgindex_core.commands.telling import talk
from pkgindex_mirror.amounts import amount
from pkgindex_mirror.syncing.progress import Progress, ProgressView

if TYPE_CHECKING:
    from rich.console import RenderableType

_TERMINAL_EVERY: Final = 0.25
_LINE_EVERY: Final = 15.0
_TICK: Final = 0.5
_PHASES: Final = {
    "starting": "starting",
    "listing": "reading the list of projects",
    "comparing": "comparing the list",
    "projects": "bringing projects",
    "departures": "looking for projects that left",
    "finishing": "writing the list of projects",
    "ended": "ended",
}


@asynccontextmanager
async def watching(progress: Progress) -> AsyncIterator[None]:
    """Show the progress of a run while the context lasts."""
    task = asyncio.create_task(_on_terminal(progress) if sys.stderr.isatty() else _by_lines(progress, talk))
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def _by_lines(progress: Progress, tell: Callable[[str], None]) -> None:
    told, waited = "", 0.0
    while True:
        await asyncio.sleep(_TICK)
        waited += _TICK
        if progress.phase != told or waited >= _LINE_EVERY:
            told, waited = progress.phase, 0.0
            tell(line(progress.view()))


async def _on_terminal(progress: Progress) -> None:
    from rich.console import Console
    from rich.live import Live

    with Live(console=Console(stderr=True), auto_refresh=False, transient=True) as live:
        while True:
            live.update(_picture(progress.view()), refresh=True)
            await asyncio.sleep(_TERMINAL_EVERY)


def line(view: ProgressView) -> str:
    """One line about a run."""
    parts = [_PHASES[view.phase]]
    if view.projects:
        parts.append(f"{view.projects_done:,} of {view.projects:,} projects")
    if view.files:
        parts.append(f"{view.files_done:,} of {view.files:,} files")
        parts.append(f"{amount(view.bytes_done)} at {amount(view.rate)}/s")
    if view.projects_failed or view.files_failed:
        parts.append(f"failed: {view.projects_failed:,} projects, {view.files_failed:,} files")
    if view.projects_remarked:
        parts.append(_remarked(view))
    if view.phase == "projects" and view.remaining is not None:
        parts.append(f"about {duration(view.remaining)} left")
    return ", ".join(parts)


def _remarked(view: ProgressView) -> str:
    return f"entries left out of {view.projects_remarked:,} pages"


def duration(seconds: float) -> str:
    """Seconds for people."""
    whole = int(seconds)
    days, hours, minutes = whole // 86_400, whole // 3600 % 24, whole // 60 % 60
    if days:
        return f"{days} d {hours} h"
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {whole % 60} s" if minutes else f"{whole} s"


def _picture(view: ProgressView) -> RenderableType:
    from rich.console import Group
    from rich.progress_bar import ProgressBar
    from rich.table import Table
    from rich.text import Text

    table = Table.grid(padding=(0, 1))
    table.add_row(
        "projects",
        ProgressBar(total=max(view.projects, 1), completed=view.projects_done, width=32),
        f"{view.projects_done:,} of {view.projects:,}",
        "" if view.remaining is None else f"about {duration(view.remaining)} left",
    )
    table.add_row(
        "files",
        ProgressBar(total=max(view.files, 1), completed=view.files_done, width=32),
        f"{view.files_done:,} of {view.files:,} known",
        f"{amount(view.bytes_done)} at {amount(view.rate)}/s",
    )
    head = Text(f"{_PHASES[view.phase]}, since {duration(view.seconds)}", style="bold")
    if view.projects_failed or view.files_failed:
        head.append(f"   failed: {view.projects_failed:,} projects, {view.files_failed:,} files", style="red")
    if view.projects_remarked:
        head.append(f"   {_remarked(view)}", style="yellow")
    return Group(head, table)
