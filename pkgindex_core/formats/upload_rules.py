"""The rules of uploads: the findings on an upload, and whether an index refuses them or warns.

    dangerous    readers could see different things, or files could leave their directory  always refused
    unusual      PyPI refuses it, and no installer is harmed by it                         `pypi` refuses, `lenient` warns
    odd          worth knowing                                                             always a warning

Every check reports one of these three. `Unusual` lists the kinds of unusual findings, each with advice that is part of the
refusal and of the warning.
"""

from __future__ import annotations

from enum import Enum
from typing import Final

from msgspec import Struct

from pkgindex_core.errors import Refused


class UploadRules(Struct, frozen=True, kw_only=True):
    """The upload rules of an index."""

    lenient: bool = False
    """Take unusual uploads, with a warning."""
    direct_urls: bool = True
    """Take requirements of the form `name @ url`, which PyPI refuses."""
    local_versions: bool = True
    """Take versions like `1.0+cu121`, which PyPI refuses."""


PYPI: Final = UploadRules()
LENIENT: Final = UploadRules(lenient=True)
RULES: Final[dict[str, UploadRules]] = {"lenient": LENIENT, "pypi": PYPI}


class Unusual(Enum):
    """The findings that `lenient` takes with a warning and `pypi` refuses: a description, and advice."""

    SDIST_NAME = (
        "sdists named as before PEP 625: `My-Package-1.0.tar.gz`, `my.package-1.0RC1.tar.gz`",
        "`python -m build --sdist` with setuptools 69.3 or newer names it so",
    )
    SDIST_FORMAT = (
        "sdists that are no `.tar.gz`: `.zip`, `.tgz`, `.tar.bz2`, `.tbz`, `.tar.xz`, `.tar.Z`",
        "uv takes `.tar.gz` and `.zip` alone, PEP 625 the first: `python -m build --sdist` makes one",
    )
    BUILT_FORMAT = (
        "built packages that are no wheels: `.egg`, `bdist_dumb` archives, `.exe` of `bdist_wininst`, `.msi`, `.rpm`, `.deb`, `.dmg`",
        "today's installers pass it over: build a wheel with `python -m build`",
    )
    VERSION = (
        "versions that PEP 440 does not know: `2004d`, `1.0-final`; they are listed before all others",
        "today's installers pass it over: number releases as PEP 440 says",
    )
    WHEEL_NAME = (
        "wheels with two underscores in a row in their name",
        "write the project's name normalised, with one `_` for each `-`, `_` and `.`",
    )
    WHEEL_DIRECTORY = (
        "wheels whose `.dist-info` directory spells name or version in another way than the filename",
        "it must be spelled as in the filename: build the wheel again instead of renaming it",
    )
    COMPRESSION = (
        "wheels with members compressed by bzip2 or lzma",
        "uv refuses such wheels: compress with deflate, as every build tool does",
    )
    DOT_SLASH = (
        "archives whose members begin with `./`",
        "pip does not find the top directory then: pack it as `tar czf x.tar.gz name-1.0`, or let `python -m build --sdist` do it",
    )
    SDIST_TREE = (
        "sdists whose `PKG-INFO` lies beside their top directory, or in one of another spelling",
        "neither pip nor uv finds the top directory then: put everything into one, as `python -m build --sdist` does",
    )
    SDIST_METADATA = (
        "sdists without `PKG-INFO`, such as archives of a repository",
        "name and version are those of its filename: let `python -m build --sdist` pack it",
    )
    METADATA_VERSION = (
        "metadata without a version, of the withdrawn version 2.0, or newer than this server knows",
        "build the package again with current tools, which write metadata 2.1 to 2.6",
    )
    ENCODING = (
        "metadata in Latin-1",
        "pip refuses wheels with it: write the metadata in UTF-8",
    )
    NO_HEADER = (
        "lines in the `PKG-INFO` of sdists and eggs that are no headers, such as the second line of a licence",
        "indent the further lines of a field, as current tools do",
    )
    REPEATED = (
        "fields that stand twice and may stand once, except name, version and requires-python",
        "keep one of them",
    )
    REQUIREMENT = (
        "requirements of old times: `Requires-Dist: pytz (>dev)`, `torch (>=1.7.*)`",
        "pip passes versions with it over since 24.1: write it as PEP 508 says, for example `pytz>=2024.1`",
    )
    REQUIRES_PYTHON = (
        "a `Requires-Python` that is no version specifier, such as `>=3.6.*`",
        "pages do not show it, since uv passes files over for `python3` and its like: write it as `>=3.6`",
    )
    DETAIL = (
        "details: long summaries and labels, mail addresses, URLs without scheme, content types such as `text/md`, extras, licences",
        "correct it in the project's metadata",
    )
    FORM = (
        "forms that leave out what the archive says: `name`, `version`, `filetype`, `metadata_version`, `pyversion`",
        "twine and `uv publish` send all fields",
    )

    @property
    def what(self) -> str:
        return self.value[0]

    @property
    def advice(self) -> str:
        return self.value[1]


class Findings:
    """Collects the findings on one upload under some rules. `problems` refuse it, `warnings` do not. Both are bounded."""

    LIMIT = 40

    def __init__(self, rules: UploadRules = PYPI) -> None:
        self.rules = rules
        self._problems: dict[str, str] = {}
        self._warnings: dict[str, str] = {}
        self._advised: set[Unusual] = set()
        self._unsaid = 0

    def refuse(self, problem: str, advice: str = "") -> None:
        """Add a dangerous or contradictory finding, which all rules refuse."""
        if problem in self._problems:
            return
        if len(self._problems) < self.LIMIT:
            self._problems[problem] = f"{problem}; {advice}" if advice else problem
        else:
            self._unsaid += 1

    def unusual(self, kind: Unusual, text: str) -> None:
        """Add an unusual finding, which the rules refuse or take. The advice is given once for each kind."""
        advice = "" if kind in self._advised else kind.advice
        self._advised.add(kind)
        if self.rules.lenient:
            self.warn(text, advice)
        else:
            self.refuse(text, advice)

    def warn(self, warning: str, advice: str = "") -> None:
        """Add an odd finding, which all rules take."""
        if len(self._warnings) < self.LIMIT and warning not in self._warnings:
            self._warnings[warning] = f"{warning}; {advice}" if advice else warning

    @property
    def warnings(self) -> tuple[str, ...]:
        return tuple(self._warnings.values())

    @property
    def problems(self) -> tuple[str, ...]:
        if not self._unsaid:
            return tuple(self._problems.values())
        return (*self._problems.values(), f"and {self._unsaid} more of this kind")

    def raise_problems(self, hint: str) -> None:
        """Raise `Refused` if there are problems."""
        if self._problems:
            raise Refused(self.problems, hint=hint)
