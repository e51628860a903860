"""What an import came to: how much came in, and a line about everything that did not, or not as it was."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct


class Remark(Struct, frozen=True, kw_only=True):
    """One thing that a person should know about."""

    left_out: bool
    """True: it did not come along. False: it did, though not in every respect as it was."""
    kind: Literal["user", "index", "project", "version", "file", "documentation", "test result"]
    name: str
    """With the index before it, where there is one."""
    reason: str


class Report(Struct, kw_only=True):
    """Counts are of what was added by this run; what was there already is in `present`."""

    devpi: str = ""
    """The version of devpi-server that wrote the dump."""
    users: int = 0
    indexes: int = 0
    versions: int = 0
    files: int = 0
    documentation: int = 0
    test_results: int = 0
    bytes: int = 0
    present: int = 0
    """Files, documentation and test results that were here already, byte for byte."""
    remarks: list[Remark] = []

    def left_out(self, kind: str, name: str, reason: str) -> None:
        self.remarks.append(Remark(left_out=True, kind=kind, name=name, reason=reason))  # type: ignore[arg-type]  # checked where it is written out

    def changed(self, kind: str, name: str, reason: str) -> None:
        self.remarks.append(Remark(left_out=False, kind=kind, name=name, reason=reason))  # type: ignore[arg-type]  # as above

    @property
    def complete(self) -> bool:
        """Whether nothing was left out."""
        return not any(remark.left_out for remark in self.remarks)
