"""The command `pkgindex-serve`. Without a subcommand it runs the server."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from pkgindex_core.commands.offered import OfferedCommands
from pkgindex_core.commands.programs import Program
from pkgindex_core.config import disabled_plugins
from pkgindex_http import plugin

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

_UPDATE: Final = "-U"
"""How pypiserver's command line asked for `update` before it had words."""


_AHEAD: Final = frozenset({"--log-file", "--log-stream", "--log-frmt", "--hash-algo", "--backend"})
"""Options with a value that pypiserver takes before the command too; and `-v`."""


class _RunByDefault(Program):
    """A group whose default command is `run`. A directory as the first word means `run` too."""

    def parse_args(self, context: click.Context, args: list[str]) -> list[str]:
        args = _command_first(args)
        own = {*context.help_option_names, "--version"}
        # During completion of the first word there is no word yet, and `run` must not be added.
        asked = bool(args) or not context.resilient_parsing
        if asked and (not args or (args[0].startswith("-") and args[0] not in own) or self._is_directory(args[0])):
            is_update = _UPDATE in args
            args = ["update" if is_update else "run", *(word for word in args if word != _UPDATE)]
        return super().parse_args(context, args)

    def _is_directory(self, word: str) -> bool:
        return Path(word).is_dir() and word not in self.commands.providers

    def shell_complete(self, context: click.Context, incomplete: str) -> list[CompletionItem]:
        """The commands, and the options of the default command."""
        run: click.Command = self.commands["run"]
        return [*super().shell_complete(context, incomplete), *run.shell_complete(context, incomplete)]


def _command_first(args: list[str]) -> list[str]:
    """Move `run` or `update` before the options that pypiserver takes ahead of it."""
    place = 0
    while place < len(args) and (args[place].partition("=")[0] in _AHEAD or args[place] in {"-v", "-vv", "--verbose"}):
        place += 2 if args[place] in _AHEAD else 1
    if 0 < place < len(args) and args[place] in {"run", "update"}:
        return [args[place], *args[:place], *args[place + 1 :]]
    return args


@click.group(
    cls=_RunByDefault,
    commands=OfferedCommands("pkgindex-serve", plugin, disabled=lambda: disabled_plugins(os.environ)),
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.version_option(package_name="pkgindex", prog_name="pkgindex-serve")
def main() -> None:
    """A Python package index: private packages, a cache of PyPI, and both behind one URL."""


if __name__ == "__main__":
    main()
