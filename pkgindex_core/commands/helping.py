"""Classes of click for help pages: `-h`, commands in sections, whole summaries, colours at a terminal."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import click

_WHOLE = 500
"""The most characters of a summary in a list of commands. Click's own limit would cut most summaries."""


class SettingsOption(click.Option):
    """An option that names the stores or the configuration. Commands list these options last."""


class _Formatter(click.HelpFormatter):
    def write_heading(self, heading: str) -> None:
        self.write(f"{'':>{self.current_indent}}{_styled(heading, bold=True)}:\n")

    def write_dl(self, rows: Iterable[tuple[str, str]], *rest: Any, **named: Any) -> None:
        super().write_dl([(_styled(term, fg="cyan"), text) for term, text in rows], *rest, **named)


class _HelpContext(click.Context):
    formatter_class = _Formatter


class Command(click.Command):
    """A command that lists its own options before those of `SettingsOption`."""

    context_class = _HelpContext

    def format_options(self, context: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the command's own options, then those for stores and configuration."""
        own: list[tuple[str, str]] = []
        shared: list[tuple[str, str]] = []
        for parameter in self.get_params(context):
            record = parameter.get_help_record(context)
            if record is not None and isinstance(parameter, click.Option):
                (shared if isinstance(parameter, SettingsOption) else own).append(record)
        for heading, rows in (("Options", own), ("Stores and configuration", shared)):
            if rows:
                with formatter.section(heading):
                    formatter.write_dl(rows)


class Group(click.Group):
    """A group that lists its commands in sections."""

    context_class = _HelpContext
    command_class = Command

    def rows(self, context: click.Context) -> Iterator[tuple[str, str, str]]:
        """The section, the word and the summary of each command."""
        for name in self.list_commands(context):
            if (found := self.get_command(context, name)) is not None:
                yield "Commands", name, found.get_short_help_str(limit=_WHOLE)

    def format_commands(self, context: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the sections, in the order of their first commands."""
        sections: dict[str, list[tuple[str, str]]] = {}
        for section, name, summary in self.rows(context):
            sections.setdefault(section, []).append((name, summary))
        for section, rows in sections.items():
            with formatter.section(section):
                formatter.write_dl(rows)


def command(name: str | None = None) -> Callable[[Callable[..., Any]], Command]:
    """Make a command of a function, as `click.command` does."""
    return click.command(name, cls=Command)


def group(name: str | None = None, *, cls: type[Group] = Group) -> Callable[[Callable[..., Any]], Group]:
    """Make a group of a function, as `click.group` does."""
    return click.group(name, cls=cls)


def _styled(text: str, **style: Any) -> str:
    """Text with colours, which click drops outside a terminal. The variable `NO_COLOR` turns them off (https://no-color.org)."""
    return text if os.environ.get("NO_COLOR") else click.style(text, **style)
