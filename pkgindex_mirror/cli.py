"""The command `pkgindex-mirror`. Results go to stdout, messages to stderr."""

from __future__ import annotations

import os
from pathlib import Path

import click

from pkgindex_core.commands.offered import OfferedCommands
from pkgindex_core.commands.programs import Program
from pkgindex_core.config import disabled_plugins
from pkgindex_mirror import plugin
from pkgindex_mirror.commands.configurations import configuration_option, remember


@click.group(
    cls=Program,
    commands=OfferedCommands("pkgindex-mirror", plugin, disabled=lambda: disabled_plugins(os.environ)),
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.version_option(package_name="pkgindex", prog_name="pkgindex-mirror")
@configuration_option
@click.pass_context
def main(context: click.Context, configuration: Path | None) -> None:
    """Talk to other package indexes."""
    remember(context, configuration)


if __name__ == "__main__":
    main()
