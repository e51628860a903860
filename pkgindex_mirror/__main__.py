"""Starts `pkgindex-mirror`, with the garbage collector off until a command is loaded (`Program.get_command`)."""

import gc

gc.disable()

from pkgindex_mirror.cli import main  # noqa: E402 - what it loads is not garbage

__all__ = ["main"]

if __name__ == "__main__":
    main()
