"""The meaning of changes: `plan` turns a list of changes into the effects that an engine writes. The engine loads the facts for it."""

from pkgindex_core.rules.planning.effects import Effects, Emptied, NamesEdit, PageEdit
from pkgindex_core.rules.planning.facts import Facts, Keys, StandingRow, StoredFile, named_keys
from pkgindex_core.rules.planning.plan import plan

__all__ = [
    "Effects",
    "Emptied",
    "Facts",
    "Keys",
    "NamesEdit",
    "PageEdit",
    "StandingRow",
    "StoredFile",
    "named_keys",
    "plan",
]
