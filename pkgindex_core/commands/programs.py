"""The outermost group of a program. Its commands come through a hook, and are listed and completed without being loaded."""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import click

from pkgindex_core import failpoints
from pkgindex_core.commands.helping import Group
from pkgindex_core.commands.offered import OfferedCommands
from pkgindex_core.commands.telling import fail, talk
from pkgindex_core.errors import PkgIndexError

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem


class Program(Group):
    """The outermost group. It warns of plugins that cannot be loaded; the other commands work."""

    commands: OfferedCommands  # type: ignore[assignment]  # click only reads it

    def invoke(self, context: click.Context) -> Any:
        armed = os.environ.get("PKGINDEX_FAILPOINTS")
        if armed:  # tests of crashes; see pkgindex_core.failpoints
            failpoints.arm(armed)
        return super().invoke(context)

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        try:
            found: click.Command | None = self.commands.get(name)
        except PkgIndexError as error:
            fail(error)
        if not gc.isenabled():  # the program starts with the collector off, so that it loads faster
            gc.freeze()  # the modules that were loaded are not garbage
            gc.enable()
        if found is None and not context.resilient_parsing:
            self._tell_problems()
        return found

    def rows(self, context: click.Context) -> Iterator[tuple[str, str, str]]:  # noqa: ARG002 - a group's signature
        for word, provider in self.commands.providers.items():
            yield provider.section, word, provider.summary

    def format_commands(self, context: click.Context, formatter: click.HelpFormatter) -> None:
        super().format_commands(context, formatter)
        self._tell_problems()

    def shell_complete(self, context: click.Context, incomplete: str) -> list[CompletionItem]:
        """The commands with their summaries, then the options of the program."""
        from click.shell_completion import CompletionItem

        words = [
            CompletionItem(word, help=summary) for _, word, summary in self.rows(context) if word.startswith(incomplete)
        ]
        return [*words, *click.Command.shell_complete(self, context, incomplete)]

    def _tell_problems(self) -> None:
        for problem in self.commands.problems:
            talk(f"warning: {problem}")
