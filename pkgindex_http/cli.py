"""The command `pkgindex-serve`. Without a subcommand it runs the server."""

from __future__ import annotations

import os

import click
from click.shell_completion import CompletionItem

from pkgindex_core import failpoints
from pkgindex_http.commands.accounts import token, user
from pkgindex_http.commands.helping import Group
from pkgindex_http.commands.history import history
from pkgindex_http.commands.indexes import index
from pkgindex_http.commands.moving import export, import_
from pkgindex_http.commands.plugins import plugins
from pkgindex_http.commands.projects import project
from pkgindex_http.commands.releases import delete, explain, mark, upload, yank
from pkgindex_http.commands.run import run
from pkgindex_http.commands.verifying import verify


class _RunByDefault(Group):
    """A group whose first word may be missing: options alone mean `run`."""

    def parse_args(self, context: click.Context, args: list[str]) -> list[str]:
        own = {*context.help_option_names, "--version"}
        # A shell that completes the first word has not written it yet.
        asked = bool(args) or not context.resilient_parsing
        if asked and (not args or (args[0].startswith("-") and args[0] not in own)):
            args = ["run", *args]
        return super().parse_args(context, args)

    def shell_complete(self, context: click.Context, incomplete: str) -> list[CompletionItem]:
        """The commands, and the options of the one that may be left out."""
        return [*super().shell_complete(context, incomplete), *run.shell_complete(context, incomplete)]


@click.group(cls=_RunByDefault, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="pkgindex", prog_name="pkgindex-serve")
def main() -> None:
    """A Python package index: private packages, a cache of PyPI, and both behind one URL."""
    armed = os.environ.get("PKGINDEX_FAILPOINTS")
    if armed:  # tests of crashes; see pkgindex_core.failpoints
        failpoints.arm(armed)


main.section("Serve", run, index, explain, plugins)
main.section("People", user, token)
main.section("Packages", upload, yank, delete, project, mark, history)
main.section("Moving", import_, export)
main.section("Looking after it", verify)

if __name__ == "__main__":
    main()
