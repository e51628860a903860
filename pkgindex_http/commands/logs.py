"""Where the server's log goes: to standard error, as JSON for programs or as short lines for a person."""

from __future__ import annotations

import logging
import sys

from pkgindex_core.config import Settings


def configure_logging(settings: Settings) -> None:
    """Set up the log of this process, and the access log apart from it.

    At a terminal requests are not written unless that was asked for: the lines to paste would be gone after a screenful of them.
    """
    from pkgindex_http.access_log import AccessTextFormatter, JsonFormatter

    terminal = sys.stderr.isatty()
    as_text = settings.log_format == "text" or (settings.log_format == "auto" and terminal)
    handler = logging.StreamHandler()
    if as_text:
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s", "%H:%M:%S"))
    else:
        handler.setFormatter(JsonFormatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(settings.log_level.upper())
    if root.level >= logging.INFO:  # the Azure client writes a line for each request and each answer
        logging.getLogger("azure.core.pipeline.policies.http_logging_policy").setLevel(logging.WARNING)
    access_handler = logging.StreamHandler()
    if as_text:
        access_handler.setFormatter(AccessTextFormatter())
    access = logging.getLogger("pkgindex.access")
    access.propagate = False
    access.handlers[:] = [access_handler]
    is_shown = settings.access_log if settings.access_log is not None else not terminal
    access.setLevel(logging.INFO if is_shown else logging.CRITICAL)
