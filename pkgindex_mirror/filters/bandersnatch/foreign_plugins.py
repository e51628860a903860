"""Filter plugins that others wrote for bandersnatch, by their entry points. They need bandersnatch beside them.

    bandersnatch_filter_plugins.v2.project        filter({"info": {"name": …}})                    before anything is fetched
    bandersnatch_filter_plugins.v2.metadata       filter(document)
    bandersnatch_filter_plugins.v2.release_file   filter({"info", "release", "release_file"})      for each file
    bandersnatch_filter_plugins.v2.release        filter({"info", "releases", "version"})          for each release

A plugin answers whether its subject stays. It reads its settings from bandersnatch's one configuration, which is filled here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from importlib import import_module
from typing import Any, Final, Literal, get_args

from pkgindex_core.errors import PkgIndexError, Refused
from pkgindex_core.installed import EntryPoint, entry_points
from pkgindex_core.models import File
from pkgindex_mirror.filters.bandersnatch.release_judges import Releases, Verdicts
from pkgindex_mirror.filters.bandersnatch.sections import Settings
from pkgindex_mirror.filters.fingerprints import fingerprint_of
from pkgindex_mirror.filters.legacy_documents import needed_document, plain_document
from pkgindex_mirror.filters.quiet_filter import QuietFilter
from pkgindex_mirror.syncing.values import Listed, Refusal, UpstreamProject

Stage = Literal["project", "metadata", "release_file", "release"]

_GROUP: Final = "bandersnatch_filter_plugins.v2."
_REFUSED: Final = "the plugin refuses it"


class ForeignPlugin:
    """A loaded plugin: its own object, its stage, and a fingerprint of its distribution and of the settings."""

    def __init__(self, plugin: Any, stage: Stage, fingerprint: str) -> None:
        self.word = str(plugin.name)
        self.stage: Stage = stage
        self.fingerprint = fingerprint
        self._plugin = plugin

    def permits(self, subject: dict[str, Any], name: str) -> bool:
        """Ask the plugin about something of a project. Raises `Refused` if the plugin fails."""
        try:
            return bool(self._plugin.filter(subject))
        except PkgIndexError:
            raise
        except Exception as error:
            raise Refused(
                f"the plugin {self.word} fails at {name}: {type(error).__name__}: {error}",
                hint="ask the author of the plugin, or disable it",
            ) from error


class ForeignProjectFilter(QuietFilter):
    """A plugin that judges projects: by name (`project`) or by JSON document (`metadata`)."""

    def __init__(self, plugin: ForeignPlugin) -> None:
        super().__init__(plugin.word, plugin.fingerprint, needs_document=plugin.stage == "metadata")
        self._plugin = plugin

    def refuses_name(self, listed: Listed) -> Refusal | None:
        if self._plugin.stage != "project":
            return None
        permitted = self._plugin.permits({"info": {"name": listed.raw}}, listed.name)
        return None if permitted else self.refusal(_REFUSED)

    def refuses_project(self, project: UpstreamProject) -> Refusal | None:
        if self._plugin.stage != "metadata":
            return None
        needed_document(project, self.word)
        permitted = self._plugin.permits(plain_document(project), project.name)
        return None if permitted else self.refusal(_REFUSED)


class ForeignFileFilter(QuietFilter):
    """A plugin that judges files."""

    def __init__(self, plugin: ForeignPlugin) -> None:
        super().__init__(plugin.word, plugin.fingerprint, needs_document=True)
        self._plugin = plugin

    def refuses_files(self, project: UpstreamProject, files: Sequence[File]) -> Mapping[str, Refusal]:
        needed_document(project, self.word)
        document = plain_document(project)
        wanted = {file.filename for file in files}
        return {
            str(entry.get("filename")): self.refusal(_REFUSED)
            for version, entries in document["releases"].items()
            for entry in entries
            if entry.get("filename") in wanted
            and not self._plugin.permits(
                {"info": document["info"], "release": version, "release_file": entry}, project.name
            )
        }


class ForeignReleaseJudge:
    """A plugin that judges releases."""

    needs_document = True

    def __init__(self, plugin: ForeignPlugin) -> None:
        self.word = plugin.word
        self.fingerprint = plugin.fingerprint
        self._plugin = plugin

    def decides_alone(self, _project: UpstreamProject) -> bool:
        return False

    def opened(self, project: UpstreamProject, releases: Releases) -> Verdicts:
        needed_document(project, self.word)
        document = plain_document(project)
        left = {file.filename for files in releases.values() for file in files}
        shown = {
            version: [entry for entry in document["releases"].get(version, []) if entry.get("filename") in left]
            for version in releases
        }

        def verdict(version: str) -> str:
            if len(shown) != len(releases):
                for gone in shown.keys() - releases.keys():
                    del shown[gone]
            subject = {"info": document["info"], "releases": shown, "version": version}
            return "" if self._plugin.permits(subject, project.name) else _REFUSED

        return verdict


def foreign_plugins(
    words: Sequence[str], sections: Settings, known: frozenset[str], *, everything: bool
) -> tuple[list[ForeignPlugin], list[str]]:
    """Load the plugins of these words, and with `everything` all that others wrote. Gives the words too that are no plugin.

    `known` are the words that need no plugin. Raises `Refused` if bandersnatch is not installed, but a plugin of an enabled word is.
    """
    wanted = [word for word in words if word not in known]
    if not wanted and not everything:
        return [], []
    found = [(stage, point) for stage in get_args(Stage) for point in _entry_points(stage)]
    if not found:
        return [], wanted
    _configure(sections, words if not everything else ["all"], [point.name for _, point in found])
    plugins = []
    for stage, point in found:
        plugin = _loaded(point)
        names = {str(plugin.name), str(getattr(plugin, "deprecated_name", ""))}
        if names & known or not (everything or names & set(wanted)):
            continue
        plugins.append(ForeignPlugin(plugin, stage, _fingerprint(point, sections)))
        wanted = [word for word in wanted if word not in names]
    return plugins, wanted


def _entry_points(stage: Stage) -> list[EntryPoint]:
    """Those of other distributions than bandersnatch: its own plugins are built in here."""
    points = entry_points(_GROUP + stage)
    return sorted((each for each in points if each.distribution.lower() != "bandersnatch"), key=lambda each: each.name)


def _configure(sections: Settings, enabled: Sequence[str], points: Iterable[str]) -> None:
    try:
        module = import_module("bandersnatch.configuration")
    except ImportError as error:
        raise Refused(
            f"the filter plugins {', '.join(points)} are written for bandersnatch, which cannot be imported here: {error}",
            hint="install bandersnatch with its dependencies beside pkgindex, or uninstall the plugins",
        ) from error
    configuration = module.BandersnatchConfig()
    for section in list(configuration.sections()):
        if section not in {"mirror", "plugins"}:
            configuration.remove_section(section)
    # The texts have their references filled in already: a percent sign is one.
    values = {
        section: {key: value.replace("%", "%%") for key, value in keys.items()} for section, keys in sections.items()
    }
    configuration.read_dict({**values, "plugins": {"enabled": "\n".join(enabled)}})


def _loaded(point: EntryPoint) -> Any:
    try:
        plugin: Any = point.load()
        return plugin()
    except Exception as error:
        raise Refused(
            f"the filter plugin {point.name} ({point.value}) cannot be loaded: {type(error).__name__}: {error}",
            hint="correct its settings, or uninstall it",
        ) from error


def _fingerprint(point: EntryPoint, sections: Settings) -> str:
    return fingerprint_of(
        point.name,
        [
            point.value,
            (point.distribution.lower(), point.version),
            {section: dict(keys) for section, keys in sections.items()},
        ],
    )
