"""The settings of a run. Seconds and bytes."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

from pkgindex_core.names import ProjectName
from pkgindex_mirror.file_policies import FilePolicies

Removal = Literal["keep", "hide", "delete"]


class RunSettings(Struct, frozen=True, kw_only=True):
    """How a run goes about its work. What it mirrors is said by the filters, and what it writes by the target."""

    removed: Removal = "delete"
    """The policy for a project that the upstream does not have any more: it is kept, its page is taken away, or all of it is removed."""
    grace: float = 0.0
    """Seconds for which such a project is kept as it was."""
    shrink_percent: float = 10.0
    """A list from which more than this part of the mirrored projects is missing at once, and more than `shrink_count` of them, removes and hides nothing."""
    shrink_count: int = 10
    projects_at_once: int = 24
    """Projects that are worked on at the same time."""
    files_at_once: int = 32
    """Most files that are fetched at once from one host. A run begins with 8, and takes more while the host works."""
    with_files: bool = True
    """Whether files are fetched. Without them the mirror has pages only."""
    policies: FilePolicies = FilePolicies()
    """Of which projects a run fetches files."""
    with_documents: bool = False
    """Whether the JSON document of each project is fetched, although no filter reads it."""
    stop_on_error: bool = False
    """Whether the first project that fails ends the run."""
    stale_attempts: int = 3
    """How often a page that is older than the list says is asked for again in one run."""
    stale_pause: float = 2.0
    """Seconds before it is asked for again the first time; the pause doubles from there."""
    first_rest: float = 300.0
    """Seconds for which a project that failed is left alone; they double with each failure."""
    longest_rest: float = 86_400.0
    file_attempts: int = 4
    """How often a transfer without progress is tried."""
    slowest_file: int = 4096
    """Slowest transfer of a file in bytes a second. A transfer may take `file_allowance` longer."""
    file_allowance: float = 120.0
    file_limit: int = 20 * 1024**3
    """Most bytes of a file."""

    def fetches_files(self, name: ProjectName) -> bool:
        """Whether a run fetches the files of a project."""
        return self.with_files and self.policies.is_immediate(name)
