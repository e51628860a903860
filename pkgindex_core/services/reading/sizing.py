"""Tells how much space a release takes when it is installed, alone and with its dependencies, as far as that is known here.

    release -> the wheel that fits -> the bytes of its members, and its requirements -> the newest releases that fit these -> …

The sizes are those of an installation on a machine like this server. Nothing is fetched, and no upstream is asked: a wheel whose bytes are not here
has an unknown size. No resolver runs: each project is taken once, in the newest version that fits the requirement that was met first.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable, Iterable
from functools import cached_property
from typing import Final

from msgspec import Struct
from packaging.markers import default_environment
from packaging.requirements import InvalidRequirement, Requirement
from packaging.specifiers import SpecifierSet
from packaging.tags import Tag, sys_tags
from packaging.utils import InvalidWheelFilename, parse_wheel_filename
from packaging.version import InvalidVersion

from pkgindex_core.clock import Clock
from pkgindex_core.digests import Sha256
from pkgindex_core.errors import PkgIndexError
from pkgindex_core.formats.archives.wheel_layout import info_path
from pkgindex_core.formats.core_metadata import read_metadata
from pkgindex_core.formats.versions import is_pep440, version_key
from pkgindex_core.models import File
from pkgindex_core.names import IndexName, ProjectName, normalized_or_none
from pkgindex_core.protocols import PageEntry, Principal
from pkgindex_core.services.reading.file_contents import FileContents, FileOnPage, NotHere
from pkgindex_core.services.reading.showing import ProjectView, Showing
from pkgindex_core.tools.bounded_cache import BoundedCache
from pkgindex_core.tools.single_flight import SingleFlight

MOST: Final = 100
"""The most projects of one sum."""
_KEPT: Final = 4096
_KEPT_SECONDS: Final = 60.0
"""How long a sum is kept. A change of the project itself, of the indexes or of the caller makes another one at once."""
_TURNS: Final = 2
_VERSIONS: Final = 1000


class InstalledSize(Struct, frozen=True, kw_only=True):
    """The space of a release in bytes. None and what is missing are unknown, not zero."""

    own: int | None
    whole: int
    """With the dependencies whose size is known."""
    counted: int
    """The number of these."""
    unknown: tuple[str, ...]
    """The other dependencies."""
    machine: str
    """The machine that is meant."""


class _Wheel(Struct, frozen=True):
    """The bytes of a wheel when it is installed, and its requirements."""

    size: int
    requires: tuple[str, ...]


class _KeptSum(Struct, frozen=True):
    size: InstalledSize
    until: float


class Sizing:
    """Tells sizes."""

    def __init__(self, *, showing: Showing, contents: FileContents, clock: Clock) -> None:
        self._clock = clock
        self._showing = showing
        self._contents = contents
        self.wheels: BoundedCache[Sha256, _Wheel] = BoundedCache(_KEPT)
        self.sums: BoundedCache[Hashable, _KeptSum] = BoundedCache(_KEPT)
        self._summing: SingleFlight[InstalledSize] = SingleFlight(turns=_TURNS)

    async def installed(
        self, start: IndexName, view: ProjectView, *, principal: Principal, seconds: float
    ) -> InstalledSize | None:
        """The space of a release. None: it takes longer than some seconds to find out. It is found out nevertheless, for the next caller."""
        key = (start, view.resolution.project, view.version, view.resolution.key, principal)
        known = self.sums.get(key)
        if known is not None and self._clock.monotonic() < known.until:
            return known.size
        return await self._summing.join(key, lambda: self._found_out(key, start, view, principal)).wait(seconds)

    async def _found_out(
        self, key: Hashable, start: IndexName, view: ProjectView, principal: Principal
    ) -> InstalledSize:
        size = await self._sum(start, view, principal)
        self.sums.put(key, _KeptSum(size, self._clock.monotonic() + _KEPT_SECONDS))
        return size

    async def _sum(self, start: IndexName, view: ProjectView, principal: Principal) -> InstalledSize:
        own = await self._wheel(view, principal)
        sizes: list[int] = []
        unknown: list[str] = []
        met = {view.resolution.project}
        waiting = deque(self._required(own, ()))
        while waiting:
            requirement = waiting.popleft()
            name = normalized_or_none(requirement.name)
            if name is None or name in met:
                continue
            met.add(name)
            wheel = None
            if len(met) <= MOST:
                wheel = await self._best(start, name, requirement.specifier, principal)
            if wheel is None:
                unknown.append(name)
            else:
                sizes.append(wheel.size)
                waiting.extend(self._required(wheel, requirement.extras))
        return InstalledSize(
            own=own.size if own else None,
            whole=(own.size if own else 0) + sum(sizes),
            counted=len(sizes),
            unknown=tuple(sorted(unknown)),
            machine=self._machine,
        )

    async def _best(
        self, start: IndexName, project: ProjectName, wanted: SpecifierSet, principal: Principal
    ) -> _Wheel | None:
        """The wheel of the newest version that fits; None if there is none here."""
        try:
            view = await self._showing.project(start, project, None, principal=principal, asking=False)
            version = _newest(view, wanted)
            if version is None:
                return None
            if version != view.version:
                view = await self._showing.project(start, project, version, principal=principal, asking=False)
            return await self._wheel(view, principal)
        except PkgIndexError:
            return None

    async def _wheel(self, view: ProjectView, principal: Principal) -> _Wheel | None:
        """The wheel of a release that would be installed; None if none fits, or if its bytes are not here."""
        entry, file = min(
            ((entry, file) for entry, file in view.files if self._rank(file) is not None),
            key=lambda each: self._rank(each[1]) or 0,
            default=(None, None),
        )
        if entry is None or file is None or file.sha256 is None:
            return None
        known = self.wheels.get(file.sha256)
        if known is None:
            known = await self._read(view, entry, file, principal)
            if known is not None:
                self.wheels.put(file.sha256, known)
        return known

    async def _read(self, view: ProjectView, entry: PageEntry, file: File, principal: Principal) -> _Wheel | None:
        found = FileOnPage(
            config=view.resolution.tree.indexes[entry.origin], project=view.resolution.project, file=file
        )
        try:
            content = await self._contents.open(found, principal=principal, fetch=False)
            if isinstance(content, NotHere):
                return None
            listing = await self._contents.listing(content)
            inside = info_path((each.name for each in listing.members), "METADATA")
            if listing.trouble or not inside:
                return None
            metadata = read_metadata((await self._contents.member(content, inside)).data)
        except PkgIndexError:
            return None
        return _Wheel(listing.unpacked_bytes, tuple(metadata.requires_dist))

    def _rank(self, file: File) -> int | None:
        """The place of a wheel in the order in which installers prefer them; None if it does not fit, or is no wheel."""
        try:
            tags = parse_wheel_filename(file.filename)[3]
        except (InvalidWheelFilename, InvalidVersion):
            return None
        return min((self._ranks[tag] for tag in tags if tag in self._ranks), default=None)

    @cached_property
    def _ranks(self) -> dict[Tag, int]:
        return {tag: place for place, tag in enumerate(sys_tags())}

    @cached_property
    def _environment(self) -> dict[str, str]:
        return {name: str(value) for name, value in default_environment().items()}

    @property
    def _machine(self) -> str:
        told = self._environment
        return f"{told['platform_python_implementation']} {told['python_version']}, {told['platform_system']}, {told['platform_machine']}"

    def _required(self, wheel: _Wheel | None, extras: Iterable[str]) -> list[Requirement]:
        """The requirements that count on this machine, with these extras."""
        found = []
        for text in wheel.requires if wheel else ():
            try:
                requirement = Requirement(text)
            except InvalidRequirement:
                continue
            marker = requirement.marker
            if marker is None or any(marker.evaluate({**self._environment, "extra": each}) for each in (*extras, "")):
                found.append(requirement)
        return found


def _newest(view: ProjectView, wanted: SpecifierSet) -> str | None:
    """The version that an installer would take; None if none fits. Looks at the newest `_VERSIONS` only."""
    offered = [each for each in view.page.versions[-_VERSIONS:] if each not in view.yanked and is_pep440(each)]
    return max(wanted.filter(offered), key=version_key, default=None)
