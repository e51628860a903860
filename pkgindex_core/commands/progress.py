"""A progress bar on standard error, if that is a terminal."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def progress_bar(doing: str, *, in_bytes: bool = False) -> Iterator[Callable[[str, int, int], None]]:
    """Yield a function to call with the name of the step, the amount that is done, and the total (0 if unknown)."""
    if not sys.stderr.isatty():  # loading rich takes longer than many commands run
        yield lambda *_: None
        return
    from rich import progress as bars
    from rich.console import Console

    console = Console(stderr=True)
    amount = (bars.DownloadColumn(), bars.TransferSpeedColumn()) if in_bytes else (bars.MofNCompleteColumn(),)
    columns = (bars.TextColumn("{task.description}"), bars.BarColumn(), *amount, bars.TimeElapsedColumn())
    with bars.Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task(doing, total=None)

        def tell(what: str, done: int, total: int) -> None:
            progress.update(task, description=f"{doing} {what}", completed=done, total=total or None)

        yield tell
