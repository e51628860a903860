"""Whether the files after a list of changes are within the quotas of their index (`WithinQuotas`)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from pkgindex_core.errors import Missing
from pkgindex_core.names import IndexName, ProjectName
from pkgindex_core.rules.planning.draft import Draft
from pkgindex_core.rules.planning.facts import ProjectKey
from pkgindex_core.rules.quotas import check_file, check_growth, size_of


def stay_within(draft: Draft, index: IndexName, sizes: Mapping[ProjectKey, int]) -> None:
    """Raise `TooLarge` or `QuotaExceeded` if they are not. `sizes`: the bytes before the changes."""
    config = draft.configs.get(index)
    if config is None:
        raise Missing("index", index)
    growth: Counter[ProjectName] = Counter()
    for key, stored in draft.files.changed.items():
        if key[0] != index:
            continue
        before = draft.files.stored.get(key)
        if before is not None:
            growth[before.project] -= size_of(before.file)
        if stored is not None:
            growth[stored.project] += size_of(stored.file)
            if before is None or before.file.sha256 != stored.file.sha256:
                check_file(config, stored.file.filename, size_of(stored.file))
    check_growth(config, {project: size for (of, project), size in sizes.items() if of == index}, growth)
