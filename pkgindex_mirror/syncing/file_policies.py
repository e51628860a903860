"""When the files of a project are fetched: by the run, or by the first client that requests them. Pure."""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import Literal

from msgspec import Struct

from pkgindex_core.names import ProjectName

FilePolicy = Literal["immediate", "on-demand"]
"""`immediate`: a run fetches the files. `on-demand`: it brings pages, and a file comes with the first request for it."""


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
        if not self.rules and self.otherwise == "immediate":
            return ""
        return " ".join([*(f"{rule.pattern}={rule.policy}" for rule in self.rules), self.otherwise])
