"""The quotas of an index: whether files may still come in. Pure.

The bound of a file, of a project and of the index (`kept_options.Quotas`). Files of hosted projects count; documentation, test results and
metadata do not. Two files with the same bytes count twice. Only growth is refused: what is above a quota may shrink.
"""

from __future__ import annotations

from collections.abc import Mapping

from pkgindex_core.changes import WithinQuotas
from pkgindex_core.errors import QuotaExceeded, TooLarge
from pkgindex_core.models import File, IndexConfig
from pkgindex_core.names import ProjectName
from pkgindex_core.protocols.index_store import WHOLE_INDEX
from pkgindex_core.rules.kept_options import quotas


def check_file(config: IndexConfig, filename: str, size: int) -> None:
    """Refuse a file that is too large for the index."""
    limit = quotas(config).file
    if limit and size > limit:
        raise TooLarge(
            f"{filename} ({size} bytes)", limit, hint=f"ask the owner of {config.name} for a larger max_file_bytes"
        )


def check_growth(config: IndexConfig, used: Mapping[ProjectName, int], growth: Mapping[ProjectName, int]) -> None:
    """Refuse to let projects grow by so many bytes. `used`: the bytes of these projects and of `WHOLE_INDEX` before."""
    limits = quotas(config)
    for project, more in growth.items():
        after = used.get(project, 0) + more
        if limits.project and more > 0 and after > limits.project:
            raise QuotaExceeded(f"{project} in {config.name}", after, limits.project, option="max_project_bytes")
    more = sum(growth.values())
    after = used.get(WHOLE_INDEX, 0) + more
    if limits.index and more > 0 and after > limits.index:
        raise QuotaExceeded(f"the index {config.name}", after, limits.index, option="max_index_bytes")


def within_quotas(config: IndexConfig) -> tuple[WithinQuotas, ...]:
    """The requirement of a commit that brings files into an index, if it has quotas."""
    return (WithinQuotas(config.name),) if quotas(config).bounds else ()


def size_of(file: File) -> int:
    return file.size or 0
