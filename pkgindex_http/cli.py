"""The command `pkgindex-serve`. Without a subcommand it runs the server."""

from __future__ import annotations

import os

import click

from pkgindex_core import failpoints
from pkgindex_http.commands.accounts import token, user
from pkgindex_http.commands.history import history
from pkgindex_http.commands.indexes import index
from pkgindex_http.commands.moving import export, import_
from pkgindex_http.commands.plugins import plugins
from pkgindex_http.commands.releases import delete, explain, mark, upload, yank
from pkgindex_http.commands.run import run


class _RunByDefault(click.Group):
    """A group whose first word may be missing: options alone mean `run`."""

    def parse_args(self, context: click.Context, args: list[str]) -> list[str]:
        own = {"--help", "--version"}
        if not args or (args[0].startswith("-") and args[0] not in own):
            args = ["run", *args]
        return super().parse_args(context, args)


@click.group(cls=_RunByDefault)
@click.version_option(package_name="pkgindex", prog_name="pkgindex-serve")
def main() -> None:
    """A Python package index: private packages, a cache of PyPI, and both behind one URL."""
    armed = os.environ.get("PKGINDEX_FAILPOINTS")
    if armed:  # tests of crashes; see pkgindex_core.failpoints
        failpoints.arm(armed)


for _command in (run, user, index, token, upload, yank, delete, mark, explain, history, export, import_, plugins):
    main.add_command(_command)

if __name__ == "__main__":
    main()
