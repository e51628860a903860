"""Rules that refuse uploads and hide nothing: licences, closed releases, and what a wheel runs or overwrites."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from msgspec import Struct

from pkgindex_core.clock import Timestamp, to_rfc3339
from pkgindex_core.errors import Refused
from pkgindex_core.formats.core_metadata import read_metadata
from pkgindex_core.models import File
from pkgindex_core.names import IndexName
from pkgindex_core.protocols.policies import Build
from pkgindex_core.rules.policing.policy_filter import Held, PolicyFilter
from pkgindex_core.rules.policing.uploads import PolicedUpload
from pkgindex_core.rules.policing.waiting import CooldownSpan, parse_cooldown

_SHOWN: Final = 80
_STARTUP: Final = (".pth", ".start")
_CUSTOMIZING: Final = frozenset({"sitecustomize", "usercustomize"})
"""The modules that `site` imports."""
_INTERPRETERS: Final = frozenset({"python", "python3", "pythonw", "pypy", "pypy3"})


class AllowedLicences(Struct, frozen=True):
    """The value of a rule `licences`: SPDX identifiers, as they are spelled in the list of SPDX."""

    allowed: frozenset[str]
    text: str


def parse_licences(text: str) -> AllowedLicences:
    """Read identifiers with commas: `MIT, Apache-2.0, BSD-3-Clause`."""
    allowed: set[str] = set()
    for word in (each.strip() for each in text.split(",")):
        expression = _canonical(word)
        if expression is None or " " in expression.replace(" WITH ", ""):
            raise Refused(f"{word[:_SHOWN]!r} is no licence of SPDX", hint="write identifiers such as MIT, Apache-2.0")
        allowed.add(expression)
    return AllowedLicences(frozenset(allowed), ", ".join(sorted(allowed)))


def parse_open_days(text: str) -> CooldownSpan:
    """Read the time for which releases take files: `14d`."""
    return parse_cooldown(text)


class UploadRule(PolicyFilter):
    """A rule that is asked at uploads only."""

    def decides(self, value: Any, origin: IndexName, file: File, build: Build) -> Held | None:
        return None

    def applies(self, tree: Any, start: IndexName) -> bool:
        return False


class LicencesRule(UploadRule):
    """Lets releases in whose licence expression (PEP 639) allows to choose listed licences only."""

    rule = "licences"

    def decides_upload(self, value: Any, upload: PolicedUpload, build: Build) -> Held | None:
        said = read_metadata(upload.metadata).license_expression if upload.metadata else ""
        if not said:
            return Held(f"its metadata has no License-Expression, and only {value.text} are let in")
        expression = _canonical(said)
        if expression is None:
            return Held(f"its License-Expression {said[:_SHOWN]!r} is no expression of SPDX")
        return (
            None
            if allows(expression, value.allowed)
            else Held(f"its licence is {expression}, and only {value.text} are let in")
        )


class ArchivedRule(UploadRule):
    """Lets no files into releases that an operator archived."""

    rule = "archived"

    def decides_upload(self, value: Any, upload: PolicedUpload, build: Build) -> Held | None:
        because = f": {value}" if value else ""
        return Held(f"{upload.project} {upload.file.version} is archived and takes no files{because}")


class ClosedAfterRule(UploadRule):
    """Closes a release some time after its first file."""

    rule = "closed-after"

    def decides_upload(self, value: Any, upload: PolicedUpload, build: Build) -> Held | None:
        times = [each.upload_time for each in upload.release if each.upload_time is not None]
        if not times or build.today < min(times) + value.seconds * 1_000_000:
            return None
        closed = Timestamp(min(times) + value.seconds * 1_000_000)
        return Held(
            f"{upload.project} {upload.file.version} is closed: it took files until {to_rfc3339(closed)[:19]}Z;"
            " upload a new version"
        )


class WheelRule(UploadRule):
    """A rule about the members of a wheel. It holds a wheel that cannot be read too."""

    def decides_upload(self, value: Any, upload: PolicedUpload, build: Build) -> Held | None:
        if upload.members is None:
            return None
        try:
            reason = self.objection(upload.members())
        except Refused as error:
            return Held(str(error))
        return Held(reason) if reason else None

    def objection(self, members: Sequence[str]) -> str:
        """The sentence that says what is wrong with the names in a wheel; empty for none."""
        raise NotImplementedError


class StartupFilesRule(WheelRule):
    """Lets no wheel in with files that run whenever an interpreter starts (`.pth`, PEP 829's `.start`, `sitecustomize`)."""

    rule = "startup-files"

    def objection(self, members: Sequence[str]) -> str:
        found = [name for name in members if _runs_at_start(_in_site_packages(name))]
        return f"it has {found[0]!a}, which runs whenever Python starts" if found else ""


class ScriptsRule(WheelRule):
    """Lets no wheel in that puts programs beside the interpreter."""

    rule = "scripts"

    def objection(self, members: Sequence[str]) -> str:
        found = [name for name in members if ".data/scripts/" in name and not name.endswith("/")]
        return f"it has the script {found[0]!a}" if found else ""


class InstallPlacesRule(WheelRule):
    """Lets no wheel in that overwrites an interpreter, or writes outside of site-packages, scripts and headers."""

    rule = "install-places"

    def objection(self, members: Sequence[str]) -> str:
        for name in members:
            before, _, inside = name.partition(".data/")
            if not inside or "/" in before:
                continue
            scheme, _, rest = inside.partition("/")
            if scheme == "scripts" and rest.lower().removesuffix(".exe").rstrip("0123456789.") in _INTERPRETERS:
                return f"it overwrites an interpreter with {name!a}"
            if scheme == "data" and rest:
                return f"it writes {name!a} outside of site-packages"
        return ""


def allows(expression: str, allowed: frozenset[str]) -> bool:
    """Whether a canonical expression lets a user choose allowed licences only: AND needs both sides, OR one of them."""
    tokens = expression.replace("(", " ( ").replace(")", " ) ").split()
    place = 0

    def either() -> bool:
        nonlocal place
        found = both()
        while place < len(tokens) and tokens[place] == "OR":
            place += 1
            found = both() or found
        return found

    def both() -> bool:
        nonlocal place
        found = one()
        while place < len(tokens) and tokens[place] == "AND":
            place += 1
            found = one() and found
        return found

    def one() -> bool:
        nonlocal place
        if tokens[place] == "(":
            place += 1
            found = either()
            place += 1  # the closing parenthesis: a canonical expression has it
            return found
        licence = tokens[place]
        place += 1
        if place + 1 < len(tokens) and tokens[place] == "WITH":
            licence = f"{licence} WITH {tokens[place + 1]}"
            place += 2
        return licence in allowed

    return either()


def _canonical(text: str) -> str | None:
    from packaging.licenses import InvalidLicenseExpression, canonicalize_license_expression  # the list of SPDX is long

    if len(text) > 1000 or text.count("(") > 50:
        return None
    try:
        return str(canonicalize_license_expression(text))
    except InvalidLicenseExpression:
        return None


def _in_site_packages(name: str) -> str:
    before, _, inside = name.partition(".data/")
    scheme, _, rest = inside.partition("/")
    if not inside or "/" in before:
        return name
    if scheme == "data":  # below the prefix of the installation
        return rest.rpartition("site-packages/")[2]
    return rest if scheme in {"purelib", "platlib"} else name


def _runs_at_start(name: str) -> bool:
    """Whether `site` runs a file of site-packages."""
    first, _, behind = name.partition("/")
    return first.partition(".")[0] in _CUSTOMIZING or (not behind and first.endswith(_STARTUP))
