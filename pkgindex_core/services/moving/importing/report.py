"""The report of an import: counts, and a remark on everything that was left out or changed."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct


class Remark(Struct, frozen=True, kw_only=True):
    """One thing that was left out or changed."""

    left_out: bool
    """True: it was not imported. False: it was imported with changes."""
    kind: Literal["user", "index", "project", "version", "file", "documentation", "test result"]
    name: str
    """The name, after that of its index if it has one."""
    reason: str


class ImportReport(Struct, kw_only=True):
    """The counts are of things added by this run; `present` counts those that were here already."""

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
    """Files, documentation and test results that were here already with the same bytes."""
    remarks: list[Remark] = []

    def left_out(self, kind: str, name: str, reason: str) -> None:
        self.remarks.append(Remark(left_out=True, kind=kind, name=name, reason=reason))  # type: ignore[arg-type]  # checked where it is written out

    def changed(self, kind: str, name: str, reason: str) -> None:
        self.remarks.append(Remark(left_out=False, kind=kind, name=name, reason=reason))  # type: ignore[arg-type]  # as above

    @property
    def complete(self) -> bool:
        """Whether nothing was left out."""
        return not any(remark.left_out for remark in self.remarks)
