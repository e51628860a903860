"""When the files of a project are fetched: by the run, by the first client that requests them, or by each client anew. Pure.

An index keeps its rules in the option `mirror_file_policies`, which runs write, so that a server knows which files it does not keep.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from fnmatch import fnmatchcase
from typing import Any, Final, Literal, get_args

from msgspec import Struct

from pkgindex_core.errors import Refused
from pkgindex_core.models import IndexConfig
from pkgindex_core.names import ProjectName

OPTION: Final = "mirror_file_policies"
"""The option of an index."""

FilePolicy = Literal["immediate", "on-demand", "streamed"]
"""`immediate`: a run fetches the files. `on-demand`: it brings pages, and a file comes with the first request for it. `streamed`: so too, and
the file is passed on to the client and not kept."""

POLICIES: Final[tuple[FilePolicy, ...]] = get_args(FilePolicy)


class PolicyRule(Struct, frozen=True):
    """The policy of the projects whose normalised names match a pattern, such as `nvidia-*`."""

    pattern: str
    policy: FilePolicy


class FilePolicies(Struct, frozen=True):
    """Rules in order: the first one that matches a name counts. `otherwise`: the policy of names that none matches."""

    rules: tuple[PolicyRule, ...] = ()
    otherwise: FilePolicy = "immediate"

    def of(self, name: ProjectName) -> FilePolicy:
        for rule in self.rules:
            if fnmatchcase(name, rule.pattern):
                return rule.policy
        return self.otherwise

    def is_immediate(self, name: ProjectName) -> bool:
        return self.of(name) == "immediate"

    @property
    def fingerprint(self) -> str:
        """Changes with the policies; empty while all files are immediate."""
        if not self.written:
            return ""
        return " ".join([*(f"{rule.pattern}={rule.policy}" for rule in self.rules), self.otherwise])

    @property
    def written(self) -> tuple[str, ...]:
        """The rules as texts, which `read_rules` reads; none while all files are immediate."""
        rules = tuple(f"{rule.pattern} {rule.policy}" for rule in self.rules)
        return rules if self.otherwise == "immediate" else (*rules, f"* {self.otherwise}")


def read_rules(lines: Iterable[str]) -> tuple[PolicyRule, ...]:
    """Read rules such as `nvidia-* on-demand`. Patterns become those of normalised names. Raises ValueError with a sentence."""
    rules = []
    for line in lines:
        pattern, _, word = line.partition(" ")
        policy = next((each for each in POLICIES if each == word.strip()), None)
        if policy is None:
            raise ValueError(
                f"{line[:200]!r} is no pattern with one of the policies {', '.join(POLICIES[:-1])} and {POLICIES[-1]}"
            )
        rules.append(PolicyRule(re.sub(r"[-_.]+", "-", pattern.lower()), policy))
    return tuple(rules)


def policies_of(index: IndexConfig) -> FilePolicies:
    """The policies of an index."""
    written = index.options.get(OPTION, ())
    return FilePolicies(read_rules(written)) if written else _ALL_IMMEDIATE


def read_option(value: Any) -> tuple[str, ...]:
    """Read the value of the option: a list, or text with commas."""
    parts = value.split(",") if isinstance(value, str) else value
    if not isinstance(parts, list | tuple):
        raise Refused(f"'{OPTION}' option must be a list", hint=_HINT)
    try:
        return FilePolicies(read_rules(line for part in parts if (line := str(part).strip()))).written
    except ValueError as error:
        raise Refused(f"'{OPTION}' option: {error}", hint=_HINT) from error


_ALL_IMMEDIATE: Final = FilePolicies()
_HINT: Final = "write patterns with policies, such as `torch on-demand, nvidia-* streamed`"
