"""How the commands explain themselves: `-h`, commands in groups, whole summaries, colours at a terminal.

Click asks each of these classes for its part of a help page; nothing here knows a command.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from typing import Any

import click

_WHOLE = 500
"""Characters of a summary in a list of commands. Click's own limit cuts most of them; the terminal wraps these."""


class SettingsOption(click.Option):
    """An option that every command has: it says where the stores and the configuration are."""


class _Formatter(click.HelpFormatter):
    def write_heading(self, heading: str) -> None:
        self.write(f"{'':>{self.current_indent}}{_styled(heading, bold=True)}:\n")

    def write_dl(self, rows: Iterable[tuple[str, str]], *rest: Any, **named: Any) -> None:
        super().write_dl([(_styled(term, fg="cyan"), text) for term, text in rows], *rest, **named)


class _Context(click.Context):
    formatter_class = _Formatter


class Command(click.Command):
    """A command whose own options come first in its help."""

    context_class = _Context

    def format_options(self, context: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the command's own options, then those that say where everything is."""
        own: list[tuple[str, str]] = []
        shared: list[tuple[str, str]] = []
        for parameter in self.get_params(context):
            record = parameter.get_help_record(context)
            if record is not None and isinstance(parameter, click.Option):
                (shared if isinstance(parameter, SettingsOption) else own).append(record)
        for heading, rows in (("Options", own), ("Where everything is", shared)):
            if rows:
                with formatter.section(heading):
                    formatter.write_dl(rows)


class Group(click.Group):
    """A group whose commands stand in sections. `section` adds some; commands added otherwise stand last."""

    context_class = _Context
    command_class = Command

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._sections: dict[str, list[str]] = {}

    def section(self, heading: str, *commands: click.Command) -> None:
        """Add commands under a heading of their own."""
        for each in commands:
            self.add_command(each)
            self._sections.setdefault(heading, []).append(str(each.name))

    def format_commands(self, context: click.Context, formatter: click.HelpFormatter) -> None:
        """Write every section, in the order in which they were added."""
        placed = {name for names in self._sections.values() for name in names}
        others = [name for name in self.list_commands(context) if name not in placed]
        for heading, names in [*self._sections.items(), ("Commands", others)]:
            rows = [
                (name, found.get_short_help_str(limit=_WHOLE))
                for name in names
                if (found := self.get_command(context, name)) is not None and not found.hidden
            ]
            if rows:
                with formatter.section(heading):
                    formatter.write_dl(rows)


def command(name: str | None = None) -> Callable[[Callable[..., Any]], Command]:
    """Make a command of a function, as `click.command` does."""
    return click.command(name, cls=Command)


def group(name: str | None = None, *, cls: type[Group] = Group) -> Callable[[Callable[..., Any]], Group]:
    """Make a group of a function, as `click.group` does."""
    return click.group(name, cls=cls)


def _styled(text: str, **style: Any) -> str:
    """Text for a terminal; click drops the colours where the output is none. https://no-color.org: a variable turns them off."""
    return text if os.environ.get("NO_COLOR") else click.style(text, **style)
