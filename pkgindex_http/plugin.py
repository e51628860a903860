"""The server's own plugin: offers its URLs, pages and commands through the same hooks as other plugins.

Importing it is cheap: aiohttp is imported when the routes are made, and a command when it is used.
"""

from __future__ import annotations

import pkgutil
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Any, Final

from pkgindex_core.hookspecs import CommandProvider, Context, Provider, hookimpl

_COMMANDS: Final = (
    ("Serve", "run", "run:run", "Start the server: on 127.0.0.1:3141, with the user's data directory and a mirror of PyPI."),
    ("Serve", "init", "init:init", "Make the store with its first user and indexes, without serving."),
    ("Serve", "index", "indexes:index", "Make, change, list and remove indexes."),
    ("Serve", "explain", "releases:explain", "Show which layers give a project's files, which are left out, and why."),
    ("Serve", "policy", "policies:policy", "Show the rules of policies, and try them on what clients asked for."),
    ("Serve", "exemption", "policies:exemption", "Let packages through that a policy holds back, for a reason and a time."),
    ("Serve", "advisory", "advisories:advisory", "Know of malicious and vulnerable packages: feeds of OSV, and advisories of one's own."),
    ("Serve", "check", "check:check", "Check the simple index at URL, of any server, by the standards, and tell what each failure means for pip, uv, poetry and twine."),
    ("Serve", "decisions", "policies:decisions", "Show what policies hid, let wait, warned of or observed, and why."),
    ("Serve", "gen-config", "gen_config:gen_config", "Print or write configuration files that run this server: for nginx, systemd, Docker, Kubernetes."),
    ("Serve", "plugins", "plugins:plugins", "List plugins by hook, built-in ones last, with the distribution and file of each."),
    ("People", "user", "accounts:user", "Make, change, list and remove users."),
    ("People", "token", "accounts:token", "Make, list and revoke API tokens."),
    ("People", "publisher", "publishers:publisher", "Choose the workflows that may upload to an index without a stored secret."),
    ("Packages", "update", "update:update", "Look for newer versions of what lies in directories, and print or run the `pip download` lines (pypiserver's command)."),
    ("Packages", "upload", "releases:upload", "Publish wheels, source distributions and documentation (NAME-VERSION.doc.zip) into the store, as the index's owner."),
    ("Packages", "yank", "releases:yank", "Mark a file as yanked: installers use it only when it is pinned exactly (PEP 592)."),
    ("Packages", "delete", "releases:delete", "Delete a file."),
    ("Packages", "project", "projects:project", "Delete projects, free their names, and bring deleted files back."),
    ("Packages", "mark", "releases:mark", "Set the status of a project: archived and quarantined take no uploads, and quarantined shows no files (PEP 792)."),
    ("Packages", "search", "search:search", "Find projects by words of their names and metadata: `fast json depends:attrs python:3.12`."),
    ("Packages", "history", "history:history", "Show the history of a file, documentation or test result: uploads, pushes and overwrites, with user, time and indexes."),
    ("Packages", "retain", "retaining:retain", "Remove the releases that the retention rule of an index does not keep, or bring them back."),
    ("Moving", "import", "moving:import_", "Import a whole store of another program: `import devpi DIR` a directory of devpi-export."),
    ("Moving", "migrate", "migrating:migrate", "Copy the store to another index store, another blob store, or both, or add the changes since the last copy."),
    ("Moving", "promote", "promote:promote", "Make a replica the primary: its store takes uploads from the next start on."),
    ("Maintenance", "backup", "backups:backup", "Back up the whole store: `backup URL` copies what is new; `backup list URL` and `backup verify URL` read backups."),
    ("Maintenance", "restore", "backups:restore", "Restore a backup into an empty data directory or into empty stores, or continue a restore."),
    ("Maintenance", "audit", "auditing:audit", "Check and export the log of changes, which is chained by hashes."),
    ("Maintenance", "verify", "verifying:verify", "Read all files of the store and compare them with their digests; check the database."),
    ("Maintenance", "scrub", "scrubbing:scrub", "Read all files of the store, and repair damaged ones, as servers do in the background; or tell what they found."),
    ("Maintenance", "gc", "clearing:gc", "Remove files that nothing refers to any more: of deleted and replaced packages, and of uploads that failed."),
)  # fmt: skip
"""Section, word, place and summary of each command. The summary is the first paragraph of the command's own help."""


@hookimpl
def pkgindex_commands() -> Iterable[CommandProvider]:
    for section, word, place, summary in _COMMANDS:
        make = partial(pkgutil.resolve_name, f"pkgindex_http.commands.{place}")
        yield CommandProvider(name=f"pkgindex-serve {word}", section=section, summary=summary, make=make)


@hookimpl
def pkgindex_routes() -> Iterable[Provider[Any]]:
    return [
        Provider(name="native", summary="the URLs of URLS.md", make=_routes),
        Provider(
            name="pypiserver",
            summary="pypiserver's URLs for the default index, when [plugins.pypiserver] is configured",
            make=_pypiserver_routes,
        ),
        Provider(
            name="routes",
            summary="simpleindex's URLs for the routes of a file, when [plugins.routes] is configured",
            make=_simpleindex_routes,
        ),
        Provider(
            name="proxpi",
            summary="proxpi's URLs for the default index, when [plugins.proxpi] is configured",
            make=_proxpi_routes,
        ),
    ]


@hookimpl
def pkgindex_templates() -> Iterable[Provider[Path]]:
    return [Provider(name="native", summary="the pages of the server for a person", make=_templates)]


def _routes(_context: Context) -> Any:
    return pkgutil.resolve_name("pkgindex_http.routes:ROUTES")


def _pypiserver_routes(context: Context) -> Any:
    return pkgutil.resolve_name("pkgindex_http.pypiserver.routes:made")(context) if context.is_configured else ()


def _simpleindex_routes(context: Context) -> Any:
    if not context.settings:
        return ()
    return pkgutil.resolve_name("pkgindex_http.simpleindex.routes:made")(context, _routes(context))


def _proxpi_routes(context: Context) -> Any:
    return pkgutil.resolve_name("pkgindex_http.proxpi.routes:made")(context) if context.is_configured else ()


def _templates(_context: Context) -> Path:
    return Path(__file__).with_name("html")
