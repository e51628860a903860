"""Starts `pkgindex-serve`, with the garbage collector off until a command is loaded (`Program.get_command`)."""

import gc

gc.disable()

from pkgindex_http.cli import main  # noqa: E402 - the modules that it loads are not garbage

__all__ = ["main"]

if __name__ == "__main__":
    main()
