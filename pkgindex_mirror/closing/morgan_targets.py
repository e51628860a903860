"""The environments of a morgan.ini as targets, and its requirements as wishes. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping

from msgspec.structs import replace
from packaging.tags import Tag

from pkgindex_core.errors import Refused
from pkgindex_core.names import normalized_or_none
from pkgindex_mirror.bandersnatch.morgan import MorganConfiguration, MorganEnvironment
from pkgindex_mirror.closing.install_targets import InstallTarget, TargetSet, read_target
from pkgindex_mirror.prefetching.wanted import Wanted, wanted_by

_SYSTEMS: Mapping[str, str] = {"linux": "linux", "darwin": "macos", "win32": "windows"}


def wanted_of(configuration: MorganConfiguration, *, where: str) -> Iterator[Wanted]:
    """The requirements of the file, those with a URL left out."""
    for requirement in configuration.requirements:
        project = normalized_or_none(requirement.name)
        if project is not None and not requirement.url:
            yield wanted_by(requirement, project, where=where)


def targets_of(environments: Iterable[MorganEnvironment]) -> TargetSet:
    """A target for each environment. Raises `Refused` for those that are none."""
    found: list[InstallTarget] = []
    problems: list[str] = []
    for environment in environments:
        try:
            found.append(_target(environment))
        except Refused as error:
            problems += [f"[env.{environment.name}]: {problem}" for problem in error.problems]
    if problems:
        raise Refused(problems, hint="set python_version, sys_platform and platform_machine, or platform_tag")
    return TargetSet(found)


def _target(environment: MorganEnvironment) -> InstallTarget:
    markers = {name: value for name, value in environment.markers.items() if value}
    is_pypy = markers.get("implementation_name") == "pypy"
    python = f"{'pypy' if is_pypy else ''}{markers.get('python_full_version', '')}"
    target = read_target(python, _platform(environment.platform_tag, markers))
    kept = {name: value for name, value in markers.items() if name not in {"extra", "python_full_version"}}
    return replace(
        target,
        shown=environment.name,
        markers={**target.markers, **kept},
        tags=frozenset(each for each in target.tags if _fits(each, environment.wheel_tags)),
    )


def _platform(tag: str, markers: Mapping[str, str]) -> str:
    """The platform as `read_platform` reads it. The tag is written as `sysconfig.get_platform()` says it."""
    if tag.startswith("linux-"):
        return tag
    if tag:
        return re.sub(r"[-.]", "_", tag)
    system = _SYSTEMS.get(markers.get("sys_platform", ""), "")
    machine = markers.get("platform_machine", "")
    return f"{system}-{machine.lower()}" if machine else system


def _fits(tag: Tag, patterns: Mapping[str, str]) -> bool:
    parts = {"interpreter": tag.interpreter, "abi": tag.abi, "platform": tag.platform}
    return all(re.match(pattern, parts[name]) for name, pattern in patterns.items())
