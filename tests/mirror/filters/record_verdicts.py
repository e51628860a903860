"""Runs the cases of `plugin_cases` through bandersnatch's own plugins, and prints its verdicts as JSON.

    python record_verdicts.py        with a Python that has bandersnatch

Each case has a process of its own, since plugins keep their settings in their classes. A verdict is the list of the files that are
kept, or the name of the exception. `recorded_verdicts.json` has the verdicts of two releases of bandersnatch.
"""

from __future__ import annotations

import copy
import json
import logging
import multiprocessing
import os
import sys
import tempfile
from configparser import ConfigParser
from importlib import import_module
from importlib.metadata import entry_points, version
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

from plugin_cases import CASES, Case


def configuration_of(case: Case) -> str:
    """The configuration as bandersnatch reads it from a file."""
    lines = ["[mirror]", "directory = /nowhere", "[plugins]", "enabled ="]
    lines += [f"    {word}" for word in case.enabled.split()]
    for section, keys in case.sections.items():
        lines.append(f"[{section}]")
        for key, value in keys.items():
            lines.append(f"{key} = {value}".replace("%", "%%").replace("\n", "\n    "))
    return "\n".join(lines) + "\n"


def verdict(case: Case) -> Any:
    from bandersnatch.configuration import BandersnatchConfig
    from bandersnatch.filter import LoadedFilters
    from bandersnatch.package import Package

    logging.disable(logging.CRITICAL)
    with tempfile.TemporaryDirectory() as directory:
        os.chdir(directory)
        for name, data in case.files.items():
            Path(name).write_bytes(data)
        Path("bandersnatch.conf").write_text(configuration_of(case), encoding="utf-8")
        try:
            configuration = BandersnatchConfig()
            ConfigParser.read(configuration, "bandersnatch.conf")
            filters = LoadedFilters(load_all=True)
            document = copy.deepcopy(case.document)
            subject = {"info": {"name": document["info"]["name"]}}
            if not all(each.filter(subject) for each in filters.filter_project_plugins()):
                return []
            package = Package(document["info"]["name"])
            package._metadata = document
            if not package.filter_metadata(filters.filter_metadata_plugins()):
                return []
            package.filter_all_releases_files(filters.filter_release_file_plugins())
            package.filter_all_releases(filters.filter_release_plugins())
            return [entry["filename"] for entry in package.release_files]
        except Exception as error:
            return type(error).__name__
        finally:
            os.chdir("/")


def verdicts() -> dict[str, Any]:
    for module in ("package", "filter", "configuration"):
        import_module(f"bandersnatch.{module}")  # once, before the processes part
    for stage in ("project", "metadata", "release", "release_file"):
        for point in entry_points(group=f"bandersnatch_filter_plugins.v2.{stage}"):
            point.load()
    context = multiprocessing.get_context("fork")
    with context.Pool(1, maxtasksperchild=1) as pool:
        return dict(zip([case.name for case in CASES], pool.map(verdict, CASES, chunksize=1), strict=True))


if __name__ == "__main__":
    json.dump({version("bandersnatch"): verdicts()}, sys.stdout, indent=1)
