"""Sets up the log of the server: on standard error, as JSON for programs or as short lines for people."""

from __future__ import annotations

import logging
import os
import sys
from pathlib import Path
from threading import Thread
from typing import Final

from pkgindex_core.errors import Refused
from pkgindex_http.settings import ServerSettings

_FLUSHING: Final = 1.0
"""Seconds for which the end of a process waits for the readers of its logs."""


def configure_logging(settings: ServerSettings, *, file: Path | None = None, quiet: bool = False) -> None:
    """Set up the log and the access log of this process. Both go to the `file` too; with `quiet` they go only there.

    At a terminal requests are logged only with `--access-log`, so that the lines to paste stay on the screen.
    """
    from pkgindex_http.access_log import AccessTextFormatter, JsonFormatter

    terminal = sys.stderr.isatty()
    as_text = settings.log_format == "text" or (settings.log_format == "auto" and terminal)
    text = logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s", "%H:%M:%S")
    root = logging.getLogger()
    root.handlers[:] = _handlers(text if as_text else JsonFormatter(), file, quiet=quiet)
    root.setLevel(settings.log_level.upper())
    if root.level >= logging.INFO:  # the Azure client logs each request and each answer
        logging.getLogger("azure.core.pipeline.policies.http_logging_policy").setLevel(logging.WARNING)
    access = logging.getLogger("pkgindex.access")
    access.propagate = False
    access.handlers[:] = _handlers(AccessTextFormatter() if as_text else None, file, quiet=quiet)
    is_shown = settings.access_log if settings.access_log is not None else file is not None or not terminal
    access.setLevel(logging.INFO if is_shown else logging.CRITICAL)


def end_logging(status: int = 0) -> None:
    """End this process at once, with this status, if the reader of a log is stuck. Python would wait for it for ever."""

    def flush() -> None:
        for handler in (*logging.getLogger().handlers, *logging.getLogger("pkgindex.access").handlers):
            handler.flush()

    flushing = Thread(target=flush, daemon=True)
    flushing.start()
    flushing.join(_FLUSHING)
    if flushing.is_alive():
        os._exit(status)


def _handlers(formatter: logging.Formatter | None, file: Path | None, *, quiet: bool) -> list[logging.Handler]:
    handlers: list[logging.Handler] = [] if quiet else [logging.StreamHandler()]
    if file is not None:
        try:
            handlers.append(logging.FileHandler(file, encoding="utf-8"))
        except OSError as error:
            raise Refused(f"the log file {file} cannot be written: {error.strerror}") from error
    for handler in handlers:
        handler.setFormatter(formatter)
    return handlers or [logging.NullHandler()]
