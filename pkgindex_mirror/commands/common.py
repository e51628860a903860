"""Parts that commands of `pkgindex-mirror` share."""

from __future__ import annotations

import os
from pathlib import Path

from pkgindex_core.config import Settings, load_settings


def library_settings(config: Path | None, **flags: str | None) -> Settings:
    """The settings of the library. Options of the server may be in the same file, and are left alone."""
    return load_settings(Settings, file=config, environ=os.environ, flags=flags, others=True)
